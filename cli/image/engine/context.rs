//! The context of a build: what an engine gets of a directory.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::dockerignore::Ignored;
use crate::image::error::ImageError;
use crate::image::oci::files;

/// What a Dockerfile is called in a context that it does not lie in.
const OWN_NAME: &str = ".edgectl.dockerfile";

/// A context with its Dockerfile.
#[derive(Debug, Clone)]
pub struct BuildContext {
    root: PathBuf,
    dockerfile: PathBuf,
    /// All that the engine gets, by paths from the root, in order.
    files: Vec<String>,
}

impl BuildContext {
    /// Looks through a directory. What `.dockerignore` names stays at home, but for the Dockerfile.
    pub fn read(root: &Path, dockerfile: &Path) -> Result<Self, ImageError> {
        let ignored = Ignored::of_context(root, Some(dockerfile))?;
        let mut files = Vec::new();
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).map_err(ImageError::io(&directory))? {
                let path = entry.map_err(ImageError::io(&directory))?.path();
                let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                let metadata = fs::symlink_metadata(&path).map_err(ImageError::io(&path))?;
                if metadata.is_dir() && !ignored.has_all_of(&relative) {
                    open.push(path.clone());
                }
                if !ignored.has(&relative) || path == dockerfile {
                    files::check_kind(&path, &metadata)?;
                    files.push(relative);
                }
            }
        }
        files.sort();
        Ok(Self { root: root.to_owned(), dockerfile: dockerfile.to_owned(), files })
    }

    /// What the Dockerfile is called in it.
    pub fn dockerfile(&self) -> String {
        let inside = self.dockerfile.strip_prefix(&self.root).ok();
        inside.map_or_else(|| OWN_NAME.to_owned(), |path| path.to_string_lossy().into_owned())
    }

    /// The files on this machine that it is made from.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let files = self.files.iter().map(|path| self.root.join(path));
        files.filter(|path| !path.is_dir() || path.is_symlink()).chain(std::iter::once(self.dockerfile.clone()))
    }

    /// Writes it as an archive.
    pub fn write(&self, to: &Path) -> Result<(), ImageError> {
        let file = File::create(to).map_err(ImageError::io(to))?;
        let mut archive = tar::Builder::new(BufWriter::new(file));
        archive.follow_symlinks(false);
        for path in &self.files {
            let source = self.root.join(path);
            archive.append_path_with_name(&source, path).map_err(ImageError::io(source))?;
        }
        if !self.dockerfile.starts_with(&self.root) {
            let text = fs::read(&self.dockerfile).map_err(ImageError::io(&self.dockerfile))?;
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, OWN_NAME, text.as_slice()).map_err(ImageError::io(to))?;
        }
        let finished =
            archive.into_inner().and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error));
        finished.map(drop).map_err(ImageError::io(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stays_at_home_and_a_dockerfile_from_elsewhere_comes_along() {
        let (place, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path().join("bin/keep")).unwrap();
        for (name, text) in [("a", "1"), ("bin/x", "1"), ("bin/keep/y", "1"), (".dockerignore", "bin\n!bin/keep\n")] {
            fs::write(place.path().join(name), text).unwrap();
        }
        let dockerfile = elsewhere.path().join("Dockerfile");
        fs::write(&dockerfile, "FROM scratch\n").unwrap();
        let context = BuildContext::read(place.path(), &dockerfile).unwrap();
        assert_eq!(context.files, [".dockerignore", "a", "bin/keep", "bin/keep/y"]);
        assert_eq!(context.dockerfile(), OWN_NAME);
        let archive = elsewhere.path().join("context.tar");
        context.write(&archive).unwrap();
        let mut archive = tar::Archive::new(File::open(archive).unwrap());
        assert_eq!(archive.entries().unwrap().count(), 5);
    }
}
