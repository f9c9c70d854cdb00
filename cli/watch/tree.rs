//! The files that a solution is made of, and when they were last written. A build leaves nothing among them, so it does
//! not set off another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::solution::sources;

/// When and as what a file was last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// Tells a directory from another one that takes its place.
pub(super) type DirectoryStamp = (u64, Option<SystemTime>);

/// What was there at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    files: BTreeMap<PathBuf, Stamp>,
    /// Directories in which something could change.
    pub(super) directories: BTreeMap<PathBuf, DirectoryStamp>,
}

impl Tree {
    /// Looks at everything below `roots`, and at the files `always`, whoever ignores them. What cannot be read is not
    /// there.
    pub(super) fn scan(roots: &[PathBuf], always: &[PathBuf]) -> Self {
        let mut tree = Self::default();
        for root in roots {
            tree.walk(root);
        }
        for path in always {
            if let Ok(metadata) = path.metadata() {
                tree.files.insert(path.clone(), stamp(&metadata));
            }
            if let Some((directory, metadata)) =
                path.parent().and_then(|parent| Some((parent, parent.metadata().ok()?)))
            {
                tree.directories.insert(directory.to_owned(), directory_stamp(&metadata));
            }
        }
        tree
    }

    fn walk(&mut self, root: &Path) {
        for entry in sources::walk(root, root) {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.directories.insert(entry.into_path(), directory_stamp(&metadata));
            } else {
                self.files.insert(entry.into_path(), stamp(&metadata));
            }
        }
    }

    /// Puts back what was known of the files that are still looked at.
    pub(super) fn restore(&mut self, known: Self, roots: &[PathBuf], always: &[PathBuf]) {
        let is_followed = |path: &PathBuf| always.contains(path) || roots.iter().any(|root| path.starts_with(root));
        self.files.extend(known.files.into_iter().filter(|(path, _)| is_followed(path)));
    }

    /// The files that were written, came or went until `newer`.
    pub(super) fn differences(&self, newer: &Self) -> BTreeSet<PathBuf> {
        let written = newer.files.iter().filter(|(path, stamp)| self.files.get(*path) != Some(stamp));
        let gone = self.files.iter().filter(|(path, _)| !newer.files.contains_key(*path));
        written.chain(gone).map(|(path, _)| path.clone()).collect()
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp { inode: metadata.ino(), bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
}

fn directory_stamp(metadata: &Metadata) -> DirectoryStamp {
    // A number alone is soon given to another directory; not every file system knows more.
    (metadata.ino(), metadata.created().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_written_by_hand_counts() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().to_owned();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(".gitignore", "*.log\n/data/\n.env\n");
        write("modules/a/main.py", "1");
        write("modules/a/.gitignore", "cache.db\n");
        write("modules/a/gone.py", "1");
        let always = [root.join(".env")];
        let scan = || Tree::scan(std::slice::from_ref(&root), &always);
        let before = scan();
        for ignored in [
            "a.log",
            "data/x",
            "modules/a/cache.db",
            "modules/a/__pycache__/main.pyc",
            "modules/a/target/debug/a",
            ".edgectl/images/x",
            ".git/index",
            "modules/a/node_modules/x.js",
            "modules/a/.main.py.swp",
            "modules/a/main.py~",
            "modules/a/4913",
            "modules/a/.#main.py",
            "venv/bin/python",
        ] {
            write(ignored, "1");
        }
        assert_eq!(before.differences(&scan()), BTreeSet::new());
        write("modules/a/main.py", "22");
        write("modules/a/src/bin/new.rs", "1");
        write(".env", "A=1");
        fs::remove_file(root.join("modules/a/gone.py")).unwrap();
        let changed: BTreeSet<PathBuf> = [".env", "modules/a/gone.py", "modules/a/main.py", "modules/a/src/bin/new.rs"]
            .map(|name| root.join(name))
            .into();
        assert_eq!(before.differences(&scan()), changed);
    }
}
