//! What an image is made from, and what of it changed since it was made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::files;

/// A file that changed so shortly before it was looked at may have changed once more since, with the same time: clocks of
/// file systems tick slowly. In nanoseconds.
const TICK: i64 = 20_000_000;
/// Most changes that are told.
const TOLD: usize = 5;

/// What an image is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// What is no file, by a name that people understand.
    facts: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, Look>,
    /// When they were looked at, in nanoseconds since 1970.
    at: i64,
}

/// How a file looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    length: u64,
    /// In nanoseconds since 1970.
    modified: i64,
    executable: bool,
    digest: Digest,
}

impl Inputs {
    /// Looks at all files. One that looks as it did in `known` is not read.
    pub fn gather(
        facts: BTreeMap<String, String>,
        paths: impl IntoIterator<Item = PathBuf>,
        known: Option<&Self>,
    ) -> Result<Self, ImageError> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64);
        let mut found = BTreeMap::new();
        for path in paths {
            let before = known.and_then(|known| Some((known.files.get(&path)?, known.at)));
            let look = look(&path, before)?;
            found.insert(path, look);
        }
        Ok(Self { facts, files: found, at })
    }

    /// Adds files that were found out only when the image was made.
    pub fn add(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> Result<(), ImageError> {
        for path in paths {
            let look = look(&path, None)?;
            self.files.insert(path, look);
        }
        Ok(())
    }

    /// Adds something that is no file.
    pub fn add_fact(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.insert(name.into(), value.into());
    }

    /// Says what is not as it was, for people.
    pub fn changes_since(&self, before: &Self, root: &Path) -> Vec<String> {
        let mut changes = Vec::new();
        for name in self.facts.keys().chain(before.facts.keys().filter(|name| !self.facts.contains_key(*name))) {
            match (self.facts.get(name), before.facts.get(name)) {
                (Some(now), Some(then)) if now != then => {
                    changes.push(if then.len() + now.len() > 120 || then.is_empty() || now.is_empty() {
                        format!("{name} changed")
                    } else {
                        format!("{name} changed from {then} to {now}")
                    });
                }
                (Some(_), Some(_)) => {}
                _ => changes.push(format!("{name} changed")),
            }
        }
        let shown = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        for (path, now) in &self.files {
            match before.files.get(path) {
                None => changes.push(format!("{} is new", shown(path))),
                Some(then) if then.digest != now.digest || then.executable != now.executable => {
                    changes.push(format!("{} changed", shown(path)));
                }
                Some(_) => {}
            }
        }
        let gone = before.files.keys().filter(|path| !self.files.contains_key(*path));
        changes.extend(gone.map(|path| format!("{} is gone", shown(path))));
        let more = changes.len().saturating_sub(TOLD);
        if more > 1 {
            changes.truncate(TOLD);
            changes.push(format!("{more} more changes"));
        }
        changes
    }
}

/// How a program looks, without reading it.
pub fn stamp(path: &Path) -> String {
    let look = path.metadata().map(|file| format!("{}.{} {}", file.mtime(), file.mtime_nsec(), file.len()));
    look.unwrap_or_else(|_| "not there".to_owned())
}

fn look(path: &Path, before: Option<(&Look, i64)>) -> Result<Look, ImageError> {
    let metadata = fs::symlink_metadata(path).map_err(ImageError::io(path))?;
    files::check_kind(path, &metadata)?;
    let modified = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    let executable = metadata.mode() & 0o111 != 0;
    if let Some((known, at)) = before
        && known.length == metadata.len()
        && known.modified == modified
        && modified < at - TICK
    {
        return Ok(Look { executable, ..known.clone() });
    }
    let digest = if metadata.is_symlink() {
        Digest::of(fs::read_link(path).map_err(ImageError::io(path))?.as_os_str().as_bytes())
    } else {
        let file = File::open(path).map_err(ImageError::io(path))?;
        Digest::of_reader(file).map_err(ImageError::io(path))?.0
    };
    Ok(Look { length: metadata.len(), modified, executable, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_and_what_did_not_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        write("a", "1");
        write("b", "1");
        let facts = |base: &str| BTreeMap::from([("the base".to_owned(), base.to_owned())]);
        let first = Inputs::gather(facts("x"), [path("a"), path("b")], None).unwrap();
        let same = Inputs::gather(facts("x"), [path("a"), path("b")], Some(&first)).unwrap();
        assert_eq!(same.changes_since(&first, place.path()), Vec::<String>::new());
        // The same length, and perhaps the same time.
        write("a", "2");
        write("c", "1");
        let now = Inputs::gather(facts("y"), [path("a"), path("c")], Some(&first)).unwrap();
        assert_eq!(
            now.changes_since(&first, place.path()),
            ["the base changed from x to y", "a changed", "c is new", "b is gone"]
        );
    }
}
