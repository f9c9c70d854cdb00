//! Which revision of a repository a module's sources are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::tool;

/// A revision, without running git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The directory of the working tree.
    root: PathBuf,
    /// The commit's name.
    pub commit: String,
}

/// What git says of a revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// The commit's name, with `-dirty` behind it where the module's files are not those of the commit.
    pub name: Option<String>,
    /// When it was made, in seconds since 1970.
    pub time: Option<u64>,
    /// Where the repository comes from, without anybody's password.
    pub source: Option<String>,
}

/// Finds the revision that a directory is at; none outside a repository, or before its first commit.
pub fn find(directory: &Path) -> Option<Revision> {
    let root = directory.ancestors().find(|above| above.join(".git").exists())?;
    let own = git_directory(root)?;
    let shared = fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |path| own.join(path.trim()));
    let head = fs::read_to_string(own.join("HEAD")).ok()?;
    let commit = match head.trim().strip_prefix("ref: ") {
        None => head.trim().to_owned(),
        Some(name) => [&own, &shared]
            .iter()
            .find_map(|place| fs::read_to_string(place.join(name)).ok())
            .map(|text| text.trim().to_owned())
            .or_else(|| packed(&shared, name))?,
    };
    (!commit.is_empty()).then(|| Revision { root: root.to_owned(), commit })
}

fn git_directory(root: &Path) -> Option<PathBuf> {
    let path = root.join(".git");
    if path.is_dir() {
        return Some(path);
    }
    let text = fs::read_to_string(&path).ok()?;
    Some(root.join(text.trim().strip_prefix("gitdir: ")?))
}

fn packed(shared: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(shared.join("packed-refs")).ok()?;
    text.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
}

impl Revision {
    /// Asks git about the revision. What it does not say is left out.
    pub fn describe(&self, git: &Path, directory: &Path) -> Described {
        let ask = |arguments: &[&str]| {
            let mut said = String::new();
            let mut command = Command::new(git);
            command.arg("-C").arg(&self.root).args(arguments);
            let ended = tool::run(&mut command, |line| {
                if said.is_empty() {
                    line.clone_into(&mut said);
                }
            });
            ended.is_ok_and(|ended| ended.success).then_some(said)
        };
        let path = directory.to_string_lossy();
        let changes = ask(&["status", "--porcelain", "--", &path]);
        let dirty = if changes.is_none_or(|changes| changes.is_empty()) { "" } else { "-dirty" };
        Described {
            name: Some(format!("{}{dirty}", self.commit)),
            time: ask(&["log", "-1", "--format=%ct"]).and_then(|text| text.parse().ok()),
            source: ask(&["config", "--get", "remote.origin.url"]).filter(|url| !url.is_empty()).map(|url| bare(&url)),
        }
    }
}

/// An address without user and password.
fn bare(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            match host.rsplit_once('@') {
                Some((user, _)) => format!("{scheme}://{}", &rest[user.len() + 1..]),
                None => url.to_owned(),
            }
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_found_in_loose_and_packed_references() {
        let place = tempfile::tempdir().unwrap();
        let git = place.path().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(find(place.path()), None);
        fs::write(git.join("packed-refs"), "# pack\nabc refs/heads/main\n").unwrap();
        assert_eq!(find(&place.path().join("modules/a")).unwrap().commit, "abc");
        fs::write(git.join("refs/heads/main"), "def\n").unwrap();
        assert_eq!(find(place.path()).unwrap().commit, "def");
    }

    #[test]
    fn passwords_are_left_out_of_addresses() {
        assert_eq!(bare("https://me:secret@host/a@b"), "https://host/a@b");
        assert_eq!(bare("https://host/a"), "https://host/a");
        assert_eq!(bare("git@host:a/b"), "git@host:a/b");
    }
}
