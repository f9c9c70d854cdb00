//! Writing all or nothing: files are prepared beside their place and moved there in one step.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::template::RenderedFile;

/// Something prepared beside its place. Dropped without [`Staged::commit`], it is removed again.
#[derive(Debug)]
pub struct Staged {
    prepared: PathBuf,
    place: PathBuf,
    /// The first of the directories that had to be made for it.
    made: Option<PathBuf>,
}

impl Staged {
    /// Prepares a directory. Its place must be free, or an empty directory.
    pub fn directory(place: &Path, files: &[RenderedFile]) -> Result<Self, ScaffoldError> {
        if !is_free(place).map_err(|source| failed(place, source))? {
            return Err(ScaffoldError::Exists(place.to_owned()));
        }
        let prepared = beside(place);
        let made = place.parent().and_then(first_missing);
        let staged = Self { prepared: prepared.clone(), place: place.to_owned(), made };
        fs::create_dir_all(&prepared).map_err(|source| failed(&prepared, source))?;
        for file in files {
            let path = prepared.join(&file.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|source| failed(parent, source))?;
            }
            fs::write(&path, &file.content).map_err(|source| failed(&path, source))?;
        }
        Ok(staged)
    }

    /// Prepares a file that takes the place of another, with its permissions.
    pub fn file(place: &Path, content: &[u8]) -> Result<Self, ScaffoldError> {
        // What a link points to is replaced, and not the link.
        let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
        let prepared = beside(&place);
        let staged = Self { prepared: prepared.clone(), place: place.clone(), made: None };
        write(&prepared, content).map_err(|source| failed(&prepared, source))?;
        if let Ok(existing) = fs::metadata(&place) {
            fs::set_permissions(&prepared, existing.permissions()).map_err(|source| failed(&prepared, source))?;
        }
        Ok(staged)
    }

    /// Where it is until then.
    pub fn prepared(&self) -> &Path {
        &self.prepared
    }

    /// Moves it to its place.
    pub fn commit(mut self) -> Result<(), ScaffoldError> {
        fs::rename(&self.prepared, &self.place).map_err(|source| failed(&self.place, source))?;
        self.made = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Moved away, there is nothing left to remove; and nobody is left to tell where that fails.
        let _ = fs::remove_dir_all(&self.prepared).or_else(|_| fs::remove_file(&self.prepared));
        if let Some(made) = &self.made {
            let made = made.clone();
            let mut next = self.place.parent();
            while let Some(directory) = next.filter(|directory| directory.starts_with(&made)) {
                // One that something else was put into stays.
                let _ = fs::remove_dir(directory);
                next = directory.parent();
            }
        }
    }
}

/// The first directory on the way to one that is not there.
fn first_missing(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).last().map(Path::to_owned)
}

fn is_free(place: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => Ok(fs::read_dir(place)?.next().is_none()),
        Ok(_) => Ok(false),
    }
}

/// A hidden name in the same directory, so that moving is one step; this process's own.
fn beside(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.edgectl-{}", std::process::id()))
}

/// Writes what takes the place of a file of the user, which must not be lost with the power.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn failed(path: &Path, source: io::Error) -> ScaffoldError {
    ScaffoldError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> RenderedFile {
        RenderedFile { path: path.into(), content: b"x".to_vec() }
    }

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("mine")).unwrap();
        for target in ["new", "deep/down/new", "mine/new"] {
            let staged = Staged::directory(&place.path().join(target), &[file("a/b"), file("c")]).unwrap();
            assert!(staged.prepared().join("a/b").is_file());
            drop(staged);
            assert_eq!((count(place.path()), count(&place.path().join("mine"))), (1, 0), "{target}");
        }
        // A name that no file can have, after one that could be written.
        let long = "x".repeat(300);
        assert!(Staged::directory(&place.path().join("deep/new"), &[file("a"), file(&long)]).is_err());
        assert_eq!(count(place.path()), 1);
    }

    #[test]
    fn what_is_committed_is_there_at_once() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("deep/new");
        Staged::directory(&target, &[file("a/b")]).unwrap().commit().unwrap();
        assert_eq!(fs::read(target.join("a/b")).unwrap(), b"x");
        assert_eq!(count(&place.path().join("deep")), 1);
        Staged::file(&target.join("a/b"), b"y").unwrap().commit().unwrap();
        assert_eq!((fs::read(target.join("a/b")).unwrap(), count(&target.join("a"))), (b"y".to_vec(), 1));
    }
}
