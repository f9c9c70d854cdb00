//! Which simulated devices this user has started, wherever their solutions lie: a file for each in the user's state directory.

use std::fs;
use std::path::{Path, PathBuf};

use edgectl_schemas::ids::DeviceId;
use edgectl_simulator::state::{StateDirectory, read_json, write_json};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::solution::solution::Solution;

/// A device that was started once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownDevice {
    /// The solution's directory.
    pub solution: PathBuf,
    /// Where state of the solution lies.
    state: PathBuf,
    /// The device's name.
    pub device: DeviceId,
    /// Whether it is the solution's own, and not one beside it.
    is_own: bool,
}

impl KnownDevice {
    /// The device that a solution works with.
    pub fn of(solution: &Solution) -> Self {
        Self {
            solution: solution.root.clone(),
            state: solution.state(),
            device: solution.device.clone(),
            is_own: solution.device_is_own,
        }
    }

    /// Where its state lies.
    pub fn state(&self) -> StateDirectory {
        if self.is_own { StateDirectory::new(&self.state) } else { StateDirectory::other(&self.state, &self.device) }
    }

    /// Remembers it. Without a word when that cannot be: only `sim list` would not show the device.
    pub fn remember(&self, index: &Path) {
        let name = Sha256::digest(self.state().root().as_os_str().as_encoded_bytes());
        let number = name.first_chunk().copied().map_or(0, u64::from_be_bytes);
        let path = index.join(format!("{number:016x}.json"));
        let known = read_json::<Self>(&path).ok().flatten();
        if known.as_ref() != Some(self) {
            let _ = fs::create_dir_all(index).map(|()| write_json(&path, self).is_ok());
        }
    }
}

/// All devices that are remembered and still have their state, by solution and name. The others are forgotten.
pub fn all(index: &Path) -> Vec<KnownDevice> {
    let mut known = Vec::new();
    for entry in fs::read_dir(index).into_iter().flatten().flatten() {
        match read_json::<KnownDevice>(&entry.path()).ok().flatten() {
            Some(device) if device.state().root().is_dir() => known.push(device),
            // Its solution was removed, or the file is not one of ours any more.
            _ => drop(fs::remove_file(entry.path())),
        }
    }
    known.sort_by(|a, b| (&a.solution, a.device.as_str()).cmp(&(&b.solution, b.device.as_str())));
    known
}
