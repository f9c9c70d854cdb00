//! Copies of a device's state under names, and back.
//!
//! A copy is consistent because nobody writes while it is made: who copies holds the lock of the state directory, which a
//! running device holds otherwise. It is made beside its place and gets its name when it is whole, so that there never is
//! a part of one. It holds keys, and is readable by the user alone.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use edgectl_schemas::ids::DeviceId;
use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{StateDirectory, StateError, read_json, write_json};

/// The folder of all snapshots, in a solution's state.
const FOLDER: &str = "snapshots";
/// The state inside a snapshot, beside what is known of it.
const STATE: &str = "state";
const ABOUT: &str = "snapshot.json";
/// How snapshots are laid out. A later edgectl that lays them out otherwise counts on.
const FORMAT: u32 = 1;
/// What a copy is called until it is whole.
const UNFINISHED: &str = ".part";
/// Longest name.
const MAX_NAME_BYTES: usize = 64;
/// What is of one run and not of the device: the lock, sockets, what was printed.
const OF_A_RUN: [&str; 3] = ["lock", "run", "device.log"];
/// What a run that did not end well left on the machine: it stays known whatever the state becomes.
const LEFT_BEHIND: [&str; 2] = ["engine", "modules/processes.json"];

/// The name of a snapshot: letters, digits, `-`, `_` and `.`, not at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotName(String);

/// A text that is no name of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name for a snapshot: use up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit")]
pub struct InvalidName(String);

impl FromStr for SnapshotName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= MAX_NAME_BYTES && text.chars().all(is_fit) && !text.ends_with(UNFINISHED) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// When it was taken, RFC 3339.
    pub taken_at: String,
    /// The size of all its files, in bytes.
    pub bytes: u64,
    /// The version of edgectl that took it.
    pub version: String,
    /// How it is laid out.
    #[serde(default)]
    pub format: u32,
    /// The device whose state it is.
    pub device: Option<DeviceId>,
}

/// Why there is no snapshot, or none is restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The device runs, or its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The device never ran, or its state was removed.
    #[error("the simulated device has no state yet")]
    NoState,
    /// There is one of that name.
    #[error("there is a snapshot {0} already")]
    Exists(SnapshotName),
    /// There is none of that name.
    #[error("there is no snapshot {0}")]
    NotFound(SnapshotName),
    /// What is known of it cannot be read.
    #[error("the snapshot {name} is damaged: {reason}")]
    Damaged {
        /// The snapshot.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A later edgectl took it.
    #[error("the snapshot {name} was taken by edgectl {version}, which lays snapshots out in another way")]
    Newer {
        /// The snapshot.
        name: String,
        /// The version of edgectl that took it.
        version: String,
    },
    /// It was taken when the device had another name.
    #[error("the snapshot {name} is one of the device {of}, and this is the device {device}")]
    OtherDevice {
        /// The snapshot.
        name: String,
        /// The device whose state it is.
        of: DeviceId,
        /// The device that it was to be restored to.
        device: DeviceId,
    },
    /// A file cannot be copied, made or removed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { path, source }
}

/// The snapshots of one device.
#[derive(Debug, Clone)]
pub struct Snapshots {
    state: StateDirectory,
    device: DeviceId,
    folder: PathBuf,
}

impl Snapshots {
    /// The snapshots of the device whose state this is; they lie beside it.
    pub fn of(state: StateDirectory, device: DeviceId) -> Self {
        let root = state.root();
        let folder = root.with_file_name(FOLDER).join(root.file_name().unwrap_or_default());
        Self { state, device, folder }
    }

    /// Copies the state. One of that name is replaced only if it may be.
    pub fn take(&self, name: &SnapshotName, may_replace: bool) -> Result<Snapshot, SnapshotError> {
        if !self.state.endpoints().exists() {
            return Err(SnapshotError::NoState);
        }
        let _lock = self.state.lock()?;
        let place = self.folder.join(&name.0);
        if place.exists() && !may_replace {
            return Err(SnapshotError::Exists(name.clone()));
        }
        private(&self.folder)?;
        let part = unfinished(&place);
        remove(&part)?;
        let taken = private(&part).and_then(|()| {
            let bytes = copy(self.state.root(), &part.join(STATE), &|path| !is_left_out(path))?;
            let about = Snapshot {
                name: name.0.clone(),
                taken_at: Timestamp::now().to_string(),
                bytes,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                format: FORMAT,
                device: self.device_of_state()?,
            };
            write_json(&part.join(ABOUT), &about)?;
            put(&part, &place).map(|()| about)
        });
        // What is left of a failure, or what was replaced.
        remove(&part)?;
        taken
    }

    /// Makes the state what it was. What the device kept since is gone.
    pub fn restore(&self, name: &SnapshotName) -> Result<Snapshot, SnapshotError> {
        let about = self.find(name)?;
        if about.format > FORMAT {
            return Err(SnapshotError::Newer { name: about.name, version: about.version });
        }
        if let Some(of) = about.device.as_ref().filter(|of| **of != self.device) {
            return Err(SnapshotError::OtherDevice { name: about.name, of: of.clone(), device: self.device.clone() });
        }
        let root = self.state.root();
        // Whose state was removed does not run.
        let _lock = if root.exists() { Some(self.state.lock()?) } else { None };
        let part = unfinished(root);
        remove(&part)?;
        let restored = copy(&self.folder.join(&name.0).join(STATE), &part, &|_| true).and_then(|_| {
            for left in LEFT_BEHIND.map(|left| root.join(left)).iter().filter(|left| left.exists()) {
                let place = part.join(left.strip_prefix(root).unwrap_or(left));
                copy_file(left, &place)?;
            }
            put(&part, root)
        });
        remove(&part)?;
        restored.map(|()| about)
    }

    /// All snapshots, the oldest first.
    pub fn list(&self) -> Result<Vec<Snapshot>, SnapshotError> {
        let mut snapshots = Vec::new();
        for path in entries(&self.folder)? {
            // What is not whole has no such file, or not that name.
            let is_whole = !path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes());
            if is_whole {
                snapshots.extend(about(&path)?);
            }
        }
        snapshots.sort_by(|one, other| (&one.taken_at, &one.name).cmp(&(&other.taken_at, &other.name)));
        Ok(snapshots)
    }

    /// Removes a snapshot, a damaged one too.
    pub fn remove(&self, name: &SnapshotName) -> Result<(), SnapshotError> {
        let place = self.folder.join(&name.0);
        if !place.exists() {
            return Err(SnapshotError::NotFound(name.clone()));
        }
        // It is gone at once, and its files after that.
        let part = unfinished(&place);
        remove(&part)?;
        fs::rename(&place, &part).map_err(io_error(&place))?;
        remove(&part)
    }

    fn find(&self, name: &SnapshotName) -> Result<Snapshot, SnapshotError> {
        about(&self.folder.join(&name.0))?.ok_or_else(|| SnapshotError::NotFound(name.clone()))
    }

    /// The device that had the state last: it may have been given another name since.
    fn device_of_state(&self) -> Result<Option<DeviceId>, SnapshotError> {
        let endpoints = read_json::<Value>(&self.state.endpoints())?.unwrap_or_default();
        Ok(endpoints.get("deviceId").and_then(Value::as_str).and_then(|name| DeviceId::new(name).ok()))
    }
}

/// What is known of the snapshot in a folder; none if there is none.
fn about(folder: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    read_json(&folder.join(ABOUT)).map_err(|error| match error {
        StateError::Damaged { reason, .. } => {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            SnapshotError::Damaged { name, reason }
        }
        error => error.into(),
    })
}

/// The name beside a place under which something is made for it.
fn unfinished(place: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(UNFINISHED);
    place.with_file_name(name)
}

/// Whether a path inside the state is not of the device.
fn is_left_out(path: &Path) -> bool {
    OF_A_RUN.iter().chain(&LEFT_BEHIND).any(|left| path == Path::new(left))
}

/// Copies a folder with all that is wanted of it, to the disk. Returns the size of the files.
fn copy(from: &Path, to: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<u64, SnapshotError> {
    let mut bytes = 0;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let target = to.join(&folder);
        private(&target)?;
        for path in entries(&from.join(&folder))? {
            let inside = path.strip_prefix(from).unwrap_or(&path).to_owned();
            let kind = fs::symlink_metadata(&path).map_err(io_error(&path))?;
            if !is_wanted(&inside) {
                continue;
            }
            if kind.is_dir() {
                folders.push(inside);
            } else if kind.is_file() {
                bytes += copy_file(&path, &to.join(&inside))?;
            }
        }
        File::open(&target).and_then(|folder| folder.sync_all()).map_err(io_error(&target))?;
    }
    Ok(bytes)
}

fn copy_file(from: &Path, to: &Path) -> Result<u64, SnapshotError> {
    let mut source = File::open(from).map_err(io_error(from))?;
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let copied = target.and_then(|mut target| {
        let bytes = io::copy(&mut source, &mut target)?;
        target.sync_all().map(|()| bytes)
    });
    copied.map_err(io_error(to))
}

/// Puts what was made into its place. What was there is afterwards where it was made.
fn put(made: &Path, place: &Path) -> Result<(), SnapshotError> {
    let put = if place.exists() {
        renameat_with(CWD, made, CWD, place, RenameFlags::EXCHANGE).map_err(io::Error::from)
    } else {
        fs::rename(made, place)
    };
    put.map_err(io_error(place))?;
    let Some(folder) = place.parent() else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

/// What is in a folder; nothing if there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(io_error(folder))?,
    };
    read.map(|entry| Ok(entry.map_err(io_error(folder))?.path())).collect()
}

fn private(folder: &Path) -> Result<(), SnapshotError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error(folder))
}

fn remove(folder: &Path) -> Result<(), SnapshotError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name(text: &str) -> SnapshotName {
        text.parse().unwrap()
    }

    fn device(folder: &Path) -> (StateDirectory, Snapshots) {
        let state = StateDirectory::new(&folder.join(".edgectl"));
        state.create().unwrap();
        fs::write(state.endpoints(), "{\"deviceId\":\"d\"}").unwrap();
        fs::write(state.edge().join("log"), "one").unwrap();
        fs::write(state.log(), "printed").unwrap();
        (state.clone(), Snapshots::of(state, DeviceId::new("d").unwrap()))
    }

    fn modes(folder: &Path) {
        for path in entries(folder).unwrap() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
            assert_eq!(mode, 0, "{}", path.display());
            if path.is_dir() {
                modes(&path);
            }
        }
    }

    #[test]
    fn state_comes_back_as_it_was_and_what_is_of_a_run_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (state, snapshots) = device(folder.path());
        let taken = snapshots.take(&name("before"), false).unwrap();
        assert_eq!((taken.name.as_str(), taken.bytes), ("before", 3 + 16));
        assert_eq!(snapshots.list().unwrap(), [taken]);
        modes(&folder.path().join(".edgectl/snapshots"));
        fs::write(state.edge().join("log"), "two").unwrap();
        fs::write(state.edge().join("more"), "x").unwrap();
        // What a killed simulator left must not be forgotten.
        fs::write(state.engine(), "unix:///e").unwrap();
        snapshots.restore(&name("before")).unwrap();
        assert_eq!(fs::read_to_string(state.edge().join("log")).unwrap(), "one");
        assert!(!state.edge().join("more").exists());
        assert_eq!(fs::read_to_string(state.engine()).unwrap(), "unix:///e");
        assert_eq!(entries(&folder.path().join(".edgectl")).unwrap().len(), 2, "nothing is left beside");
        // Also where the state is gone.
        fs::remove_dir_all(state.root()).unwrap();
        snapshots.restore(&name("before")).unwrap();
        assert_eq!(fs::read_to_string(state.edge().join("log")).unwrap(), "one");
        snapshots.remove(&name("before")).unwrap();
        assert_eq!(snapshots.list().unwrap(), []);
        assert!(matches!(snapshots.restore(&name("before")), Err(SnapshotError::NotFound(_))));
        assert!(matches!(snapshots.remove(&name("before")), Err(SnapshotError::NotFound(_))));
    }

    #[test]
    fn a_running_device_a_name_that_is_taken_and_a_device_without_state_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (state, snapshots) = device(folder.path());
        snapshots.take(&name("a"), false).unwrap();
        assert!(matches!(snapshots.take(&name("a"), false), Err(SnapshotError::Exists(_))));
        fs::write(state.edge().join("log"), "two").unwrap();
        snapshots.take(&name("a"), true).unwrap();
        let running = state.lock().unwrap();
        for refused in [snapshots.take(&name("b"), false), snapshots.restore(&name("a"))] {
            assert!(matches!(refused, Err(SnapshotError::State(StateError::Running { .. }))));
        }
        drop(running);
        fs::write(state.edge().join("log"), "three").unwrap();
        snapshots.restore(&name("a")).unwrap();
        assert_eq!(fs::read_to_string(state.edge().join("log")).unwrap(), "two");
        fs::remove_file(state.endpoints()).unwrap();
        assert!(matches!(snapshots.take(&name("b"), false), Err(SnapshotError::NoState)));
    }

    #[test]
    fn what_is_of_another_device_newer_or_damaged_is_not_restored_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (state, snapshots) = device(folder.path());
        snapshots.take(&name("a"), false).unwrap();
        let log = || fs::read_to_string(state.edge().join("log")).unwrap();
        fs::write(state.edge().join("log"), "two").unwrap();
        let renamed = Snapshots::of(state.clone(), DeviceId::new("e").unwrap());
        let refused = renamed.restore(&name("a")).unwrap_err();
        assert_eq!(refused.to_string(), "the snapshot a is one of the device d, and this is the device e");
        let about = folder.path().join(".edgectl/snapshots/device/a").join(ABOUT);
        let text = fs::read_to_string(&about).unwrap();
        fs::write(&about, text.replace("\"format\": 1", "\"format\": 2, \"more\": []")).unwrap();
        assert!(matches!(snapshots.restore(&name("a")), Err(SnapshotError::Newer { .. })));
        assert_eq!(snapshots.list().unwrap().len(), 1);
        fs::write(&about, "{").unwrap();
        assert!(matches!(snapshots.restore(&name("a")), Err(SnapshotError::Damaged { .. })));
        assert!(matches!(snapshots.list(), Err(SnapshotError::Damaged { .. })));
        assert_eq!(log(), "two");
        snapshots.remove(&name("a")).unwrap();
        assert_eq!(snapshots.list().unwrap(), []);
    }

    #[test]
    fn names_lead_nowhere_else() {
        for good in ["a", "before-deploy", "v1.2_x", "0"] {
            assert!(good.parse::<SnapshotName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "-f", "a/b", "a b", "ü", "a.part", &"x".repeat(65)] {
            assert!(bad.parse::<SnapshotName>().is_err(), "{bad}");
        }
    }
}
