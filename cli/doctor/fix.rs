//! What can be done about a finding without risk: nothing that a person wrote is lost by it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use edgectl_simulator::state::StateDirectory;

/// Something to do.
#[derive(Debug, Clone)]
pub enum Fix {
    /// Let nobody but their owner read these files, or enter these directories.
    MakePrivate(Vec<PathBuf>),
    /// Remove what a device that no longer runs left.
    RemoveSockets(StateDirectory),
    /// Remove a file that is made anew when it is missing.
    Remove(PathBuf),
    /// Add lines at the end of a file, which is made if it is not there.
    Append(PathBuf, Vec<String>),
    /// Make a directory for the user alone.
    MakeDirectory(PathBuf),
}

/// Whether a mode lets anybody but the owner in.
pub fn is_open_to_others(mode: u32) -> bool {
    const OTHERS: u32 = 0o077;
    mode & OTHERS != 0
}

impl Fix {
    /// Does it; says what was done.
    pub fn apply(&self) -> io::Result<String> {
        match self {
            Self::MakePrivate(paths) => {
                for path in paths {
                    let mode = if path.is_dir() { 0o700 } else { 0o600 };
                    fs::set_permissions(path, Permissions::from_mode(mode))?;
                }
                Ok(format!("made private: {} files or directories", paths.len()))
            }
            Self::RemoveSockets(state) => {
                // Under the lock, so that a device that is starting keeps its own.
                let lock = state.lock().map_err(|error| io::Error::other(error.to_string()))?;
                state.remove_sockets();
                drop(lock);
                Ok(format!("removed {}", state.sockets().display()))
            }
            Self::Remove(path) => {
                fs::remove_file(path)?;
                Ok(format!("removed {}", path.display()))
            }
            Self::Append(path, lines) => {
                let text = fs::read_to_string(path).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(String::new()),
                    _ => Err(error),
                })?;
                let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                let mut file = OpenOptions::new().create(true).append(true).open(path)?;
                file.write_all(format!("{start}{}\n", lines.join("\n")).as_bytes())?;
                Ok(format!("added {} to {}", lines.join(", "), path.display()))
            }
            Self::MakeDirectory(path) => {
                use std::os::unix::fs::DirBuilderExt as _;
                fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                Ok(format!("made {}", path.display()))
            }
        }
    }
}
