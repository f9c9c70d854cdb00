//! The files of a template as they are read from outside: plain files with plain names, and not too much of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::template::stays_inside;

/// Most files of a template.
const MOST_FILES: usize = 2000;
/// Most bytes of all its files.
const MOST_BYTES: usize = 20 * 1024 * 1024;

/// Files by their paths, which stay inside.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Why a template cannot be taken.
pub fn refused(reason: impl Into<String>) -> ScaffoldError {
    ScaffoldError::Refused(reason.into())
}

/// Adds a file, if it may be one of a template.
pub fn add(files: &mut Files, path: &str, content: Vec<u8>) -> Result<(), ScaffoldError> {
    if !stays_inside(path) {
        return Err(refused(format!("{path:?} is no path inside of it")));
    }
    let bytes: usize = files.values().map(Vec::len).sum();
    if files.len() == MOST_FILES || bytes + content.len() > MOST_BYTES {
        return Err(refused(format!("it has more than {MOST_FILES} files, or more than {MOST_BYTES} bytes")));
    }
    if files.insert(path.to_owned(), content).is_some() {
        return Err(refused(format!("it has {path:?} twice")));
    }
    Ok(())
}

/// How many bytes may still be added, and one, so that too much can be told.
pub fn room(files: &Files) -> u64 {
    (MOST_BYTES - files.values().map(Vec::len).sum::<usize>()) as u64 + 1
}

/// Reads a directory without what git keeps in it. A link, or anything else that is no file, is refused.
pub fn read(directory: &Path) -> Result<Files, ScaffoldError> {
    let mut files = Files::new();
    read_below(directory, "", &mut files)?;
    Ok(files)
}

fn read_below(root: &Path, below: &str, files: &mut Files) -> Result<(), ScaffoldError> {
    let directory = root.join(below);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Io { path, source }
    };
    for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
        let entry = entry.map_err(failed(&directory))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(refused(format!("{} is not UTF-8", entry.path().display())));
        };
        if below.is_empty() && name == ".git" {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(failed(&entry.path()))?;
        if kind.is_dir() {
            read_below(root, &path, files)?;
        } else if kind.is_file() {
            let length = entry.metadata().map_err(failed(&entry.path()))?.len();
            if length >= room(files) {
                return Err(refused(format!("{path} is too large")));
            }
            add(files, &path, fs::read(entry.path()).map_err(failed(&entry.path()))?)?;
        } else {
            return Err(refused(format!("{path} is a link or no file, and a template has files alone")));
        }
    }
    Ok(())
}

/// The files below a directory of a tree, as a tree of their own; the whole tree where none is named. A tree with
/// nothing but one directory, as archives have it, is that directory.
pub fn below(files: Files, directory: Option<&str>, wanted: &str) -> Result<Files, ScaffoldError> {
    let take = |files: Files, prefix: &str| -> Files {
        let prefix = format!("{}/", prefix.trim_matches('/'));
        files
            .into_iter()
            .filter_map(|(path, content)| Some((path.strip_prefix(&prefix)?.to_owned(), content)))
            .collect()
    };
    let files = match files.keys().next().and_then(|path| path.split_once('/')) {
        Some((top, _))
            if !files.contains_key(wanted) && files.keys().all(|path| path.starts_with(&format!("{top}/"))) =>
        {
            let only = top.to_owned();
            // The one that was asked for may be the only one.
            if directory.is_some_and(|directory| directory.starts_with(&only)) { files } else { take(files, &only) }
        }
        _ => files,
    };
    let files = match directory {
        Some(directory) => take(files, directory),
        None => files,
    };
    if files.contains_key(wanted) { Ok(files) } else { Err(refused(format!("there is no {wanted} in it"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Files {
        paths.iter().map(|path| ((*path).to_owned(), Vec::new())).collect()
    }

    #[test]
    fn the_template_is_found_in_what_is_around_it() {
        let names = |files: Files| files.into_keys().collect::<Vec<_>>();
        let find = |paths, directory| below(tree(paths), directory, "t").map(names).ok();
        let expected = Some(vec!["a".to_owned(), "t".to_owned()]);
        assert_eq!(find(&["t", "a"], None), expected);
        assert_eq!(find(&["repo-1/t", "repo-1/a"], None), expected);
        assert_eq!(find(&["one/t", "one/a", "two/t"], Some("one")), expected);
        assert_eq!(find(&["repo/one/t", "repo/one/a", "repo/b"], Some("one")), expected);
        assert_eq!(find(&["one/t", "one/a"], Some("one/")), expected);
        assert_eq!(find(&["one/t", "two/t"], None), None);
        assert_eq!(find(&[], None), None);
    }

    #[test]
    fn paths_that_climb_out_are_refused() {
        let mut files = Files::new();
        for path in ["../x", "/x", "a/../../x", ".git/config"] {
            assert!(add(&mut files, path, Vec::new()).is_err(), "{path}");
        }
        assert!(add(&mut files, "a/b", Vec::new()).is_ok());
        assert!(add(&mut files, "a/b", Vec::new()).is_err());
        assert!(add(&mut files, "c", vec![0; MOST_BYTES + 1]).is_err());
    }
}
