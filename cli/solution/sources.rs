//! Which files of a solution are its sources.
//!
//! Left out is what nobody writes by hand: what git ignores, what builds leave behind, and what editors write for a
//! moment.

use std::path::Path;

use ignore::{DirEntry, WalkBuilder};

use super::solution::STATE_DIRECTORY;

/// Directories of tools.
const NOT_SOURCE: [&str; 9] =
    [STATE_DIRECTORY, ".git", "target", "node_modules", "__pycache__", ".venv", "venv", ".idea", ".vscode"];
/// How the names of files begin that editors write for a moment.
const TEMPORARY_STARTS: [&str; 3] = [".#", "#", ".goutputstream-"];
/// How they end.
const TEMPORARY_ENDS: [&str; 11] =
    ["~", ".swp", ".swo", ".swx", ".tmp", ".temp", ".bak", ".orig", ".pyc", "___jb_tmp___", "___jb_old___"];
/// Whole names of such files: what vim tries a directory with, and what a file browser leaves.
const TEMPORARY_NAMES: [&str; 2] = ["4913", ".DS_Store"];

/// Files and directories of the solution at `root`, those in `below` and above it alone, in the order of their names.
/// What cannot be read is not there.
pub fn walk(root: &Path, below: &Path) -> impl Iterator<Item = DirEntry> {
    // Outside a repository nothing above the solution is asked: a home directory may ignore all that is in it.
    let in_repository = root.ancestors().any(|above| above.join(".git").exists());
    let below = below.to_owned();
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .parents(in_repository)
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(move |entry| {
            let is_near = entry.path().starts_with(&below) || below.starts_with(entry.path());
            is_near && (entry.depth() == 0 || is_source(&entry.file_name().to_string_lossy()))
        })
        .build();
    walk.flatten()
}

/// All files of a directory but those of tools, whether they are kept in a repository or not. What cannot be read is not
/// there.
pub fn files(directory: &Path) -> impl Iterator<Item = DirEntry> {
    let walk = WalkBuilder::new(directory)
        .standard_filters(false)
        .filter_entry(|entry| entry.depth() == 0 || is_source(&entry.file_name().to_string_lossy()))
        .build();
    walk.flatten().filter(|entry| !entry.file_type().is_some_and(|kind| kind.is_dir()))
}

/// Whether a file or directory of that name is written by hand.
fn is_source(name: &str) -> bool {
    !NOT_SOURCE.contains(&name)
        && !TEMPORARY_NAMES.contains(&name)
        && !TEMPORARY_STARTS.iter().any(|start| name.starts_with(start))
        && !TEMPORARY_ENDS.iter().any(|end| name.ends_with(end))
}
