//! Starting the real binary, and saying what it should have done.

use std::path::Path;

use assert_cmd::Command;
use assert_cmd::assert::Assert;

/// Where no container engine is, so that no test finds one by chance.
pub const NO_ENGINE: &str = "unix:///nowhere/docker.sock";

/// `edgectl`, working in a directory, without terminal and without container engine.
pub fn edgectl(directory: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("edgectl"));
    command.current_dir(directory).env_remove("CARGO_TARGET_DIR").env_remove("DEFAULT_PLATFORM").env("NO_COLOR", "1");
    command.env("DOCKER_HOST", NO_ENGINE);
    // Templates of whoever runs the tests are none of theirs.
    command.env("XDG_DATA_HOME", "/nowhere");
    command
}

/// Checks that a command failed with a status and one error, which says `words`.
pub fn refused(assert: Assert, status: i32, words: &str) {
    let assert = assert.code(status).stdout("");
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert_eq!(text.lines().filter(|line| line.starts_with("error:")).count(), 1, "one error: {text}");
    assert!(text.contains(words), "it says {words:?}: {text}");
}

/// The names of everything in a directory, hidden or not.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
