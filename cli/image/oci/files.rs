//! The files of a layer: where they are to be, and what they are made from.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::image::error::ImageError;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file with the content of one on this machine.
    File {
        /// The file.
        source: PathBuf,
        /// Whether it can be run.
        executable: bool,
    },
    /// A symbolic link.
    Link(PathBuf),
}

/// The files of a layer by their paths, which are relative to the root, in the order that they are written in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    entries: BTreeMap<String, Entry>,
}

impl Files {
    /// Adds something, and the directories above it.
    pub fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            self.entries.entry(path[..end].to_owned()).or_insert(Entry::Directory);
        }
        if !path.is_empty() {
            self.entries.insert(path.to_owned(), entry);
        }
    }

    /// Adds a program.
    pub fn add_program(&mut self, path: &str, source: &Path) {
        self.add(path, Entry::File { source: source.to_owned(), executable: true });
    }

    /// Adds a file or link of this machine as it is. Anything else that is no directory is refused.
    pub fn add_path(&mut self, path: &str, source: &Path, root: &Path) -> Result<(), ImageError> {
        let metadata = fs::symlink_metadata(source).map_err(ImageError::io(source))?;
        check_kind(source, &metadata)?;
        let entry = if metadata.is_dir() {
            Entry::Directory
        } else if metadata.is_symlink() {
            Entry::Link(link_target(source, root)?)
        } else {
            Entry::File { source: source.to_owned(), executable: metadata.permissions().mode() & 0o111 != 0 }
        };
        self.add(path, entry);
        Ok(())
    }

    /// Adds all below a directory of this machine, at a path of the image.
    pub fn add_tree(&mut self, at: &str, root: &Path) -> Result<(), ImageError> {
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).map_err(ImageError::io(&directory))? {
                let path = entry.map_err(ImageError::io(&directory))?.path();
                let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                self.add_path(&format!("{at}/{relative}"), &path, root)?;
                if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                    open.push(path);
                }
            }
        }
        Ok(())
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }
}

/// Refuses what is neither file nor directory nor a link that ends somewhere.
pub fn check_kind(path: &Path, metadata: &Metadata) -> Result<(), ImageError> {
    let kind = metadata.file_type();
    let is_loop = |error: std::io::Error| error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    if kind.is_symlink() {
        // A link to nothing is one in the image, too.
        return if path.metadata().is_err_and(is_loop) {
            Err(unfit(path, "it is a symbolic link that leads back to itself"))
        } else {
            Ok(())
        };
    }
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    Err(unfit(path, "it is a device, a socket or a pipe, which no image can hold"))
}

fn unfit(path: &Path, reason: &str) -> ImageError {
    ImageError::Unfit {
        path: path.to_owned(),
        reason: reason.to_owned(),
        hint: "Remove it, or name it in .gitignore or .dockerignore.".to_owned(),
    }
}

/// Where a link leads, which must be inside `root`.
fn link_target(link: &Path, root: &Path) -> Result<PathBuf, ImageError> {
    let target = fs::read_link(link).map_err(ImageError::io(link))?;
    let below = link.parent().and_then(|parent| parent.strip_prefix(root).ok());
    if climbs_out(&target, below.map_or(0, |path| path.components().count())) {
        return Err(unfit(link, &format!("it is a symbolic link out of the module, to {}", target.display())));
    }
    Ok(target)
}

/// Whether a relative path leaves the directory that is `depth` levels above where it starts; an absolute one does.
pub fn climbs_out(path: &Path, depth: usize) -> bool {
    let mut depth = depth;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_is_taken_as_it_is_with_the_directories_above_it() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        fs::write(place.path().join("a/b/c"), "x").unwrap();
        symlink("b/c", place.path().join("a/link")).unwrap();
        let mut files = Files::default();
        files.add_tree("/app", place.path()).unwrap();
        let paths: Vec<&str> = files.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["app", "app/a", "app/a/b", "app/a/b/c", "app/a/link"]);
        assert_eq!(files.entries["app/a/link"], Entry::Link("b/c".into()));
    }

    #[test]
    fn loops_and_ways_out_and_pipes_are_refused() {
        let refused = |make: &dyn Fn(&Path)| {
            let place = tempfile::tempdir().unwrap();
            make(place.path());
            Files::default().add_tree("app", place.path()).unwrap_err().to_string()
        };
        assert!(refused(&|place| symlink("loop", place.join("loop")).unwrap()).contains("leads back to itself"));
        assert!(refused(&|place| symlink("../../etc", place.join("out")).unwrap()).contains("out of the module"));
        assert!(refused(&|place| symlink("/etc/passwd", place.join("out")).unwrap()).contains("out of the module"));
        let socket = refused(&|place| drop(std::os::unix::net::UnixListener::bind(place.join("socket")).unwrap()));
        assert!(socket.contains("a device, a socket or a pipe"), "{socket}");
    }
}
