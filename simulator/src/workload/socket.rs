//! The Unix socket of one module.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgectl_hub::clock::Clock;
use edgectl_schemas::ids::DeviceId;
use tokio::net::UnixListener;

use crate::authority::Authority;
use crate::runtime::module_runtime::ModuleRuntime;
use crate::workload::keys::KeyRing;
use crate::workload::service::{Service, router};

/// Most bytes of a socket's path: the kernel's field has 108 on Linux and 104 elsewhere, one of which ends the text.
pub const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path is longer than the system allows.
    #[error(
        "the path of the socket {path} has {bytes} bytes, the system allows {MAX_PATH_BYTES}; use a shorter folder"
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The socket or its folder cannot be made.
    #[error("cannot open the socket {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the sockets of a device share.
pub struct WorkloadFacts {
    /// Makes certificates.
    pub authority: Arc<Authority>,
    /// The keys of the modules' identities.
    pub keys: KeyRing,
    /// The modules of the device.
    pub runtime: Arc<dyn ModuleRuntime>,
    /// The cloud hub's host name.
    pub hub_host: String,
    /// The device.
    pub device: DeviceId,
    /// Tells from when certificates hold.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for WorkloadFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkloadFacts").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A socket that is open and not yet served. Its file is removed when it is dropped or its serving ends.
#[derive(Debug)]
pub struct WorkloadSocket {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "cannot remove a socket");
        }
    }
}

impl WorkloadSocket {
    /// Opens a socket, in a folder that only this user may enter. A socket that was left there is replaced; another
    /// kind of file is not.
    pub fn open(path: &Path) -> Result<Self, SocketError> {
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > MAX_PATH_BYTES {
            return Err(SocketError::PathTooLong { path: path.to_owned(), bytes });
        }
        let listener = listen(path).map_err(|source| SocketError::Io { path: path.to_owned(), source })?;
        Ok(Self { listener, file: SocketFile(path.to_owned()) })
    }

    /// The URI that modules are given.
    pub fn uri(&self) -> String {
        format!("unix://{}", self.file.0.display())
    }

    /// Serves a module, by its identifier at the hub, until the shutdown is there and the requests that are under way
    /// are answered.
    pub async fn serve(
        self,
        facts: Arc<WorkloadFacts>,
        module_id: String,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let Self { listener, file } = self;
        let served = axum::serve(listener, router(Service { facts, module_id })).with_graceful_shutdown(shutdown).await;
        drop(file);
        served
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Whoever may enter the folder may connect. In a container, where the socket is mounted without the folder, that is
    // every user.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}
