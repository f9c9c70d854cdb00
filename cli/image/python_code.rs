//! The code of a module in Python, kept as it was when it was built: Python reads files when a module starts and later, and
//! what is in the module's folder by then may be half a thought.
//!
//! Files of code are copied, and all others are links to where they are: data may be large, and belongs to the folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::image::error::ImageError;
use crate::solution::sources;

/// What a copy is called until it is looked through.
const NEW: &str = "new";
/// How many digits of a digest name a copy.
const NAME_DIGITS: usize = 16;

/// Code that was kept.
pub struct Kept {
    /// Where it is.
    pub folder: PathBuf,
    /// What tells it from other code.
    pub digest: String,
}

/// Keeps the code of the module in `directory` in a folder of its own below `place`. Before that the copy is looked through,
/// which gives its digest; if that fails, nothing changes. The code that was kept before stays too: it may be running.
pub fn keep(
    directory: &Path,
    place: &Path,
    look_through: impl FnOnce(&Path) -> Result<String, ImageError>,
) -> Result<Kept, ImageError> {
    let new = place.join(NEW);
    remove(&new).map_err(ImageError::io(&new))?;
    copy(directory, &new)?;
    let digest = look_through(&new)?;
    let hexadecimal = digest.rsplit(':').next().unwrap_or_default();
    let folder = place.join(hexadecimal.get(..NAME_DIGITS).unwrap_or(hexadecimal));
    let kept = if folder.exists() {
        remove(&new).and_then(|()| File::open(&folder)?.set_modified(SystemTime::now()))
    } else {
        fs::rename(&new, &folder)
    };
    kept.and_then(|()| forget(place, &folder)).map_err(ImageError::io(&folder))?;
    Ok(Kept { folder, digest })
}

fn copy(directory: &Path, new: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(new).map_err(ImageError::io(new))?;
    for entry in sources::files(directory) {
        let path = entry.path();
        let Ok(name) = path.strip_prefix(directory) else { continue };
        let target = new.join(name);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            if path.extension().is_some_and(|end| end == "py") {
                fs::copy(path, &target).map(|_| ())
            } else {
                symlink(path, &target)
            }
        });
        match made {
            // It went while the copy was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            made => made.map_err(ImageError::io(path))?,
        }
    }
    Ok(())
}

/// Removes what was kept, but for a folder and the one that was kept before it.
fn forget(place: &Path, kept: &Path) -> io::Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.path() != kept {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort();
    others.pop();
    others.iter().try_for_each(|(_, path)| remove(path))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stays_as_it_was_and_data_is_where_it_is() {
        let place = tempfile::tempdir().unwrap();
        let (module, code) = (place.path().join("module"), place.path().join("code"));
        fs::create_dir_all(module.join("below/__pycache__")).unwrap();
        fs::write(module.join("below/__pycache__/a.pyc"), "").unwrap();
        fs::write(module.join("below/a.py"), "1").unwrap();
        fs::write(module.join("data"), "1").unwrap();
        let kept = |digest: &str| keep(&module, &code, |_| Ok(format!("sha256:{digest}"))).unwrap().folder;
        let first = kept("1");
        fs::write(module.join("below/a.py"), "2").unwrap();
        fs::write(module.join("data"), "2").unwrap();
        let failed = keep(&module, &code, |copy| {
            assert_eq!(fs::read(copy.join("below/a.py")).unwrap(), b"2");
            Err(ImageError::Failed { tool: "python", reason: None })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(first.join("below/a.py")).unwrap(), b"1");
        assert_eq!(fs::read(first.join("data")).unwrap(), b"2");
        assert!(!first.join("below/__pycache__").exists());
        // What runs is kept until two others came after it, also when it came twice.
        let second = kept("2");
        assert_eq!(kept("1"), first);
        let third = kept("3");
        assert!(first.exists() && third.exists() && !second.exists());
        assert_eq!(fs::read(third.join("below/a.py")).unwrap(), b"2");
    }
}
