//! `install.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use sha2::{Digest as _, Sha256};
use tempfile::tempdir;

use crate::binary::{names, refused};

fn install(directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh")).current_dir(directory);
    command
}

/// A release with this edgectl in it, and the checksum beside it.
fn release(directory: &Path) -> PathBuf {
    let content = directory.join("edgectl-1");
    fs::create_dir(&content).unwrap();
    fs::copy(assert_cmd::cargo::cargo_bin!("edgectl"), content.join("edgectl")).unwrap();
    let file = directory.join("release.tar.gz");
    let packed = Process::new("tar").arg("-czf").arg(&file).arg("-C").arg(directory).arg("edgectl-1").status().unwrap();
    assert!(packed.success());
    let checksum: String =
        Sha256::digest(fs::read(&file).unwrap()).iter().fold(String::new(), |text, byte| format!("{text}{byte:02X}"));
    fs::write(directory.join("release.tar.gz.sha256"), format!("{checksum}  release.tar.gz\n")).unwrap();
    file
}

#[test]
fn a_release_is_installed_and_removed_again() {
    let place = tempdir().unwrap();
    let file = release(place.path());
    let url = format!("file://{}", file.display());
    for source in [url.as_str(), "release.tar.gz"] {
        install(place.path()).args(["--prefix=to", "--release", source]).assert().success();
        assert_eq!(names(&place.path().join("to/bin")), ["edgectl"]);
        Command::new(place.path().join("to/bin/edgectl")).arg("--version").assert().success();
        install(place.path()).args(["--prefix", "to", "--uninstall"]).assert().success();
        assert!(names(&place.path().join("to/bin")).is_empty());
    }
    install(place.path()).args(["--prefix", "to", "--uninstall"]).assert().success();
}

#[test]
fn a_release_that_is_not_what_it_should_be_is_refused() {
    let place = tempdir().unwrap();
    release(place.path());
    let with = |arguments: &[&str]| install(place.path()).args(["--prefix", "to"]).args(arguments).assert();
    refused(with(&["--release", "release.tar.gz", "--checksum", "00"]), 1, "the checksum of release.tar.gz");
    refused(with(&["--release", "missing.tar.gz"]), 1, "missing.tar.gz could not be read");
    refused(with(&["--release", "http://localhost/release.tar.gz"]), 2, "over https or from a file");
    refused(with(&["--release"]), 2, "--release needs a value");
    refused(with(&["--wrong"]), 2, "unknown argument --wrong");
    assert!(!place.path().join("to").exists());
}

#[test]
fn the_version_is_that_of_the_source() {
    let place = tempdir().unwrap();
    let version = format!("{}\n", env!("CARGO_PKG_VERSION"));
    install(place.path()).arg("--version").assert().success().stdout(version);
}
