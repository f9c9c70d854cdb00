//! Where a simulated device keeps its state: directories that are the user's alone, one lock, one place for sockets.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use edgectl_hub::cloud::policies::{OWNER, Policies};
use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::SharedKey;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::profile::profile::Profile;

/// Longest path of a socket's directory: `sun_path` holds 108 bytes, and a name of 32 must fit behind it.
const MAX_SOCKET_DIRECTORY_BYTES: usize = 72;

/// State could not be read, written or locked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of ours does not hold what we write there.
    #[error("{path}: damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A device runs in this directory already.
    #[error("a simulated device is running already{}", process.map_or_else(String::new, |id| format!(" (process {id})")))]
    Running {
        /// Its process, where it could be found out.
        process: Option<u32>,
    },
    /// The directory for sockets is not ours.
    #[error("{0}: belongs to another user")]
    Foreign(PathBuf),
}

impl StateError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The state directory of one device.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    root: PathBuf,
}

impl StateDirectory {
    /// The state of the device of a solution whose state lies in `solution_state`.
    pub fn new(solution_state: &Path) -> Self {
        Self { root: solution_state.join("device") }
    }

    /// The state of another device of the same solution.
    pub fn other(solution_state: &Path, device: &DeviceId) -> Self {
        Self { root: solution_state.join(format!("device-{device}")) }
    }

    /// Makes what is missing, readable by the user alone.
    pub fn create(&self) -> Result<(), StateError> {
        if let Some(solution_state) = self.root.parent() {
            private_directory(solution_state)?;
        }
        for directory in [self.root.clone(), self.authority(), self.cloud(), self.edge(), self.modules()] {
            private_directory(&directory)?;
        }
        let sockets = self.sockets();
        private_directory(&sockets)?;
        let metadata = std::fs::symlink_metadata(&sockets).map_err(StateError::io(&sockets))?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::getuid().as_raw() {
            return Err(StateError::Foreign(sockets));
        }
        Ok(())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The development certificate authority.
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// The cloud hub.
    pub fn cloud(&self) -> PathBuf {
        self.root.join("cloud")
    }

    /// The edge hub.
    pub fn edge(&self) -> PathBuf {
        self.root.join("edge")
    }

    /// What modules printed, and which processes run.
    pub fn modules(&self) -> PathBuf {
        self.root.join("modules")
    }

    /// The container engine on which there may be containers of the device, or shards of the fleet.
    pub fn engine(&self) -> PathBuf {
        self.root.join("engine")
    }

    /// What a device in the background prints.
    pub fn log(&self) -> PathBuf {
        self.root.join("device.log")
    }

    /// Addresses and names of the device, for those who connect to it.
    pub fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    /// How the service API of the cloud hub is reached; holds a key.
    pub fn service(&self) -> PathBuf {
        self.root.join("service.json")
    }

    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.sockets().join("control")
    }

    /// The socket of the management API.
    pub fn management_socket(&self) -> PathBuf {
        self.sockets().join("management")
    }

    /// The directory of all sockets: inside the state directory, or, where its path is too long for a socket's
    /// address, a private one for temporary files, found again by a number made from the path.
    pub fn sockets(&self) -> PathBuf {
        let inside = self.root.join("run");
        if inside.as_os_str().len() <= MAX_SOCKET_DIRECTORY_BYTES {
            return inside;
        }
        let number = crc32fast::hash(inside.as_os_str().as_encoded_bytes());
        PathBuf::from(format!("/tmp/edgectl-{}-{number:08x}", rustix::process::getuid().as_raw()))
    }

    /// Takes the device's lock; it is held until the file is dropped, and by nobody after a crash.
    pub fn lock(&self) -> Result<File, StateError> {
        let path = self.root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who holds it is a courtesy; that it is held is enough to say no.
                let _ = file.read_to_string(&mut text);
                return Err(StateError::Running { process: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(StateError::Io { path, source }),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(StateError::io(&path))?;
        Ok(file)
    }

    /// The process that holds the device's lock, or held it last.
    pub fn holder(&self) -> Option<u32> {
        std::fs::read_to_string(self.root.join("lock")).ok()?.trim().parse().ok()
    }

    /// Whether the directory is still there: it may be removed at any time, which ends the device.
    pub fn is_present(&self) -> bool {
        self.root.join("lock").exists()
    }

    /// Removes the sockets, when the device has ended.
    pub fn remove_sockets(&self) {
        // They are made anew at the next start; what is left does no harm.
        let _ = std::fs::remove_dir_all(self.sockets());
    }
}

/// Where a running device is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The device's identifier.
    pub device_id: String,
    /// Where the edge hub listens; also the gateway host name that modules and leaf devices use.
    pub gateway_host_name: String,
    /// Where the cloud hub listens; also its host name in connection strings.
    pub hub_host_name: String,
    /// The port of the cloud hub's HTTPS listener: 443, or another where that needs a privilege that is missing.
    pub hub_https_port: u16,
    /// The port of the edge hub's HTTPS listener: 443, or another where that needs a privilege that is missing.
    #[serde(default)]
    pub gateway_https_port: u16,
    /// Whether the edge hub's HTTPS listener has its port 443, which calls from module to module need.
    pub gateway_has_https: bool,
    /// How many devices a fleet has; none for one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_devices: Option<usize>,
    /// The device above this one, whose edge hub is this one's way to the cloud hub; none for a device at the top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Where metrics are served over HTTP, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The machine that the device is like; none for one that takes all that this machine does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Where the management API listens, `unix://…`.
    #[serde(default)]
    pub management_uri: String,
    /// The certificates that clients must trust, PEM.
    pub trust_bundle: PathBuf,
}

impl Endpoints {
    /// The folder of the certificate authority, which devices below each other share.
    pub fn authority(&self) -> &Path {
        self.trust_bundle.parent().unwrap_or(&self.trust_bundle)
    }
}

/// How the service API is reached. The file is readable by the user alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccess {
    /// The policy whose key this is.
    pub shared_access_key_name: String,
    /// The key, base64.
    pub shared_access_key: String,
}

impl ServiceAccess {
    /// The connection string of a policy of the hub with this host name; none if there is no such policy.
    pub fn connection_string(&self, host: &str, policy: &str) -> Option<String> {
        let key = self.policy_key(policy)?;
        Some(format!("HostName={host};SharedAccessKeyName={policy};SharedAccessKey={key}"))
    }

    /// The key of another policy of the hub, base64; none if this is not the owner's, or there is no such policy.
    pub fn policy_key(&self, policy: &str) -> Option<String> {
        let owner = SharedKey::from_base64(&self.shared_access_key).ok()?;
        (self.shared_access_key_name == OWNER)
            .then(|| Policies::new(owner).key(policy))
            .flatten()
            .map(|key| key.to_base64())
    }
}

/// Reads a JSON file of ours. None if it is not there.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StateError::Damaged { path: path.to_owned(), reason: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::io(path)(error)),
    }
}

/// Writes a JSON file for the user alone, whole or not at all.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(io::Error::from).map_err(StateError::io(path))?;
    write_private(path, &bytes)
}

/// Writes a file for the user alone, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let temporary = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|source| {
        // A half-written file must not stay; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&temporary);
        StateError::Io { path: path.to_owned(), source }
    })
}

fn private_directory(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(StateError::io(path)(error)),
    }
    // A directory that was there before may be open to others.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(StateError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_device_is_told_who_runs() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::new(&directory.path().join(".edgectl"));
        state.create().unwrap();
        let held = state.lock().unwrap();
        let Err(StateError::Running { process }) = state.lock() else { panic!("locked twice") };
        assert_eq!(process, Some(std::process::id()));
        drop(held);
        state.lock().unwrap();
    }

    #[test]
    fn directories_and_files_are_the_users_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::new(&directory.path().join(".edgectl"));
        state.create().unwrap();
        write_json(&state.service(), &"secret").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory.path().join(".edgectl")), 0o700);
        assert_eq!(mode(&state.cloud()), 0o700);
        assert_eq!(mode(&state.service()), 0o600);
        assert_eq!(read_json::<String>(&state.service()).unwrap().as_deref(), Some("secret"));
    }

    #[test]
    fn sockets_of_a_deep_directory_lie_where_their_path_fits() {
        let deep = PathBuf::from("/home").join("d".repeat(90));
        let sockets = StateDirectory::new(&deep).sockets();
        assert!(sockets.as_os_str().len() <= MAX_SOCKET_DIRECTORY_BYTES);
        assert_eq!(sockets, StateDirectory::new(&deep).sockets());
        let near = StateDirectory::new(Path::new("/s/.edgectl"));
        assert_eq!(near.sockets(), Path::new("/s/.edgectl/device/run"));
    }

    #[test]
    fn a_file_that_is_not_ours_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        std::fs::write(&path, "{").unwrap();
        let error = read_json::<Endpoints>(&path).unwrap_err();
        assert!(error.to_string().contains("endpoints.json: damaged"), "{error}");
    }
}
