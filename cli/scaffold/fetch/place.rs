//! What a text on the command line names: a directory, an archive or a repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::image::tool;
use crate::scaffold::error::ScaffoldError;
use crate::scaffold::fetch::{archive, git};
use crate::scaffold::library::Source;
use crate::scaffold::template::DESCRIPTION;
use crate::scaffold::tree::{self, Files};

/// The ends of names that say nothing of what is in it.
const ENDS: [&str; 5] = [".tar.gz", ".tgz", ".tar", ".zip", ".git"];

/// A template that was fetched, and not yet kept.
#[derive(Debug)]
pub struct Fetched {
    /// Its files.
    pub files: Files,
    /// Where it came from.
    pub source: Source,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The directory, the archive or the repository.
    pub from: &'a str,
    /// The branch, tag or commit of a repository; its default branch where absent.
    pub reference: Option<&'a str>,
    /// The directory of the template in it, where it is not at its top.
    pub directory: Option<&'a str>,
}

/// Fetches a template; relative paths start at `here`. A repository is fetched into `scratch`, which is gone afterwards.
pub fn fetch(
    wanted: Wanted<'_>,
    here: &Path,
    scratch: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Fetched, ScaffoldError> {
    let path = here.join(wanted.from);
    let (from, commit, files) = if path.is_dir() && wanted.reference.is_none() {
        (absolute(&path), None, tree::read(&path)?)
    } else if path.is_file() && wanted.reference.is_none() {
        (absolute(&path), None, archive::read(&path)?)
    } else if path.is_dir() || is_address(wanted.from) {
        let git = tool::find(environment, "git").ok_or(ScaffoldError::NoGit)?;
        let address = if path.is_dir() { absolute(&path) } else { wanted.from.to_owned() };
        let (commit, files) = git::read(&git, &address, wanted.reference, scratch)?;
        (address, Some(commit), files)
    } else {
        return Err(ScaffoldError::NoSource(wanted.from.to_owned()));
    };
    let files = tree::below(files, wanted.directory, DESCRIPTION)?;
    let source = Source { from, commit, digest: digest(&files) };
    Ok(Fetched { files, source })
}

/// The name of a template that names none: the last part of where it comes from.
pub fn name_of(wanted: Wanted<'_>) -> String {
    let text = wanted.directory.unwrap_or(wanted.from).trim_end_matches('/');
    let last = text.rsplit(['/', ':']).next().unwrap_or(text);
    ENDS.iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last).to_owned()
}

fn absolute(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| PathBuf::from(path)).display().to_string()
}

/// Whether a text is the address of a repository: with a scheme, or as `host:path`.
fn is_address(text: &str) -> bool {
    let has_scheme =
        ["https://", "http://", "ssh://", "git://", "file://"].iter().any(|scheme| text.starts_with(scheme));
    let is_short = text.split_once(':').is_some_and(|(host, path)| {
        host.contains('@') && !host.contains('/') && !path.is_empty() && !host.starts_with('-')
    });
    has_scheme || is_short
}

fn digest(files: &Files) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files {
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    crate::image::records::digest(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_end() {
        let name = |from, directory| name_of(Wanted { from, reference: None, directory });
        assert_eq!(name("https://example.org/acme/edge-template.git", None), "edge-template");
        assert_eq!(name("git@example.org:edge.git", None), "edge");
        assert_eq!(name("../mine/", None), "mine");
        assert_eq!(name("mine-1.tar.gz", None), "mine-1");
        assert_eq!(name("https://example.org/all", Some("modules/camera")), "camera");
    }

    #[test]
    fn addresses_are_told_from_paths() {
        for text in ["https://example.org/a", "ssh://git@example.org/a", "git@example.org:a/b.git", "file:///a"] {
            assert!(is_address(text), "{text}");
        }
        for text in ["a", "./a.git", "C:a", "ext::sh -c evil", "-u@x:y", "--upload-pack=evil"] {
            assert!(!is_address(text), "{text}");
        }
    }
}
