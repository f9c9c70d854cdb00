//! Copies of a module's sources, for builds that write beside them: a source directory is never written to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::image::error::ImageError;
use crate::solution::sources;

/// Names the files that were copied, one a line.
const LIST: &str = ".edgectl-staged";

/// Makes the sources in `to` those of the module: what changed is copied, with the time it changed, and what is gone is
/// removed. What a build has written there stays.
pub fn sync(root: &Path, directory: &Path, to: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(to).map_err(ImageError::io(to))?;
    let list = to.join(LIST);
    let before: BTreeSet<PathBuf> = fs::read_to_string(&list).unwrap_or_default().lines().map(PathBuf::from).collect();
    let mut now = BTreeSet::new();
    for source in files(root, directory) {
        let Ok(relative) = source.strip_prefix(directory) else { continue };
        copy(&source, &to.join(relative))?;
        now.insert(relative.to_owned());
    }
    for gone in before.difference(&now) {
        // It may be gone here, too.
        let _ = fs::remove_file(to.join(gone));
    }
    let lines: Vec<String> = now.iter().map(|path| path.display().to_string()).collect();
    fs::write(&list, lines.join("\n")).map_err(ImageError::io(list))
}

/// The files of a module that are written by hand.
pub fn files(root: &Path, directory: &Path) -> Vec<PathBuf> {
    let root = if directory.starts_with(root) { root } else { directory };
    let entries = sources::walk(root, directory).filter(|entry| entry.file_type().is_some_and(|kind| !kind.is_dir()));
    entries.map(ignore::DirEntry::into_path).filter(|path| path.starts_with(directory)).collect()
}

fn copy(source: &Path, place: &Path) -> Result<(), ImageError> {
    let metadata = source.metadata().map_err(ImageError::io(source))?;
    let modified = metadata.modified().map_err(ImageError::io(source))?;
    let is_same = place
        .metadata()
        .is_ok_and(|known| known.len() == metadata.len() && known.modified().is_ok_and(|known| known == modified));
    if is_same {
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(ImageError::io(parent))?;
    }
    fs::copy(source, place).map_err(ImageError::io(place))?;
    let file = fs::File::options().write(true).open(place).map_err(ImageError::io(place))?;
    file.set_modified(modified).map_err(ImageError::io(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_its_sources_and_keeps_what_a_build_made() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = to.path().join("copy");
        fs::create_dir(from.path().join("src")).unwrap();
        fs::write(from.path().join("src/a.c"), "1").unwrap();
        fs::write(from.path().join("b.c"), "1").unwrap();
        sync(from.path(), from.path(), &place).unwrap();
        fs::write(place.join("made.o"), "").unwrap();
        fs::remove_file(from.path().join("b.c")).unwrap();
        fs::write(from.path().join("src/a.c"), "23").unwrap();
        sync(from.path(), from.path(), &place).unwrap();
        assert_eq!(fs::read_to_string(place.join("src/a.c")).unwrap(), "23");
        assert!(place.join("made.o").exists() && !place.join("b.c").exists());
    }
}
