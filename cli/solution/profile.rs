//! The machine that a simulated device is like: built in, of the solution file, or a file of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::did_you_mean;
use edgectl_simulator::profile::catalog;
use edgectl_simulator::profile::profile::{Machine, Profile};

use crate::error::{CommandError, ErrorKind};
use crate::solution::solution::Solution;

/// The word for a device that takes all that this machine does, whatever the solution file says.
pub const NONE: &str = "none";

/// The file that a text names, if it is a path and no name of a profile.
pub fn file_of(text: &str, directory: &Path) -> Option<PathBuf> {
    let is_path = text.contains('/') || [".yaml", ".yml", ".json"].iter().any(|ending| text.ends_with(ending));
    is_path.then(|| directory.join(text))
}

/// The profiles of a solution file.
pub fn named(profiles: &BTreeMap<String, Machine>) -> Vec<Profile> {
    profiles.iter().map(|(name, machine)| Profile { name: name.clone(), machine: machine.clone() }).collect()
}

/// The profile that a text names: of the solution first, which may have its own of any name. None for `none`.
pub fn resolve(text: &str, directory: &Path, solution: &Solution) -> Result<Option<Profile>, CommandError> {
    if text == NONE {
        return Ok(None);
    }
    if let Some(path) = file_of(text, directory) {
        return read(&path).map(Some);
    }
    let own = named(&solution.profiles);
    let found = own.iter().chain(catalog::built_in()).find(|profile| profile.name == text);
    found.cloned().map(Some).ok_or_else(|| {
        let error = CommandError::usage(format!("there is no profile {text:?}"));
        match did_you_mean(text, own.iter().chain(catalog::built_in()).map(|profile| profile.name.as_str())) {
            Some(meant) => error.hint(format!("Did you mean `{meant}`? `edgectl sim profiles` lists all.")),
            None => error
                .hint("`edgectl sim profiles` lists all. A file of your own is named with its ending, `board.yaml`."),
        }
    })
}

/// Reads a profile from a file, in YAML or JSON, whose name it has.
fn read(path: &Path) -> Result<Profile, CommandError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))?;
    // JSON is YAML too.
    let machine: Machine = serde_yaml::from_str(&text).map_err(|error| {
        CommandError::new(ErrorKind::Findings, format!("{}: {error}", path.display())).hint(
            "A profile has `architecture` (amd64, arm64, arm), `cores`, `memory` and `storage`, as in `memory: 4GiB`.",
        )
    })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Profile { name, machine })
}
