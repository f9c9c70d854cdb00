//! What was built, for those who run it: one file for each image in `images/` of a solution's state.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::image::error::ImageError;

const DIRECTORY: &str = "images";

/// A module that was built as a process of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The image that a manifest names it by: repository and tag.
    pub image: String,
    /// The module it was built for.
    pub module: String,
    /// The platform it is meant for, as `module.json` calls it; what runs is of this machine, whatever it says.
    #[serde(default)]
    pub platform: String,
    /// The program, absolute, and its arguments.
    pub argv: Vec<String>,
    /// Where it runs; absolute.
    pub cwd: PathBuf,
    /// Environment variables that it needs beside those of the manifest.
    pub env: BTreeMap<String, String>,
    /// A hash of what runs: `sha256:` and hexadecimal digits.
    pub digest: String,
}

/// Looks up what was built for an image. Nothing, if nothing was, or if its record cannot be read any more.
pub fn lookup(state: &Path, image: &str) -> Option<ImageRecord> {
    let bytes = fs::read(path_of(state, image)).ok()?;
    serde_json::from_slice::<ImageRecord>(&bytes).ok().filter(|record| record.image == image)
}

/// Keeps a record, in one step.
pub fn save(state: &Path, record: &ImageRecord) -> Result<(), ImageError> {
    let path = path_of(state, &record.image);
    let write = || -> io::Result<()> {
        let directory = state.join(DIRECTORY);
        create_private(state)?;
        fs::create_dir_all(&directory)?;
        let prepared = directory.join(format!(".{}.{}", file_name(&record.image), std::process::id()));
        let mut file = fs::File::create(&prepared)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        file.sync_all()?;
        fs::rename(&prepared, &path)
    };
    write().map_err(ImageError::io(&path))
}

/// Makes the directory of a solution's state, for its owner's eyes only.
pub fn create_private(state: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state)
}

/// A hash as it stands in a record.
pub fn digest(hash: Sha256) -> String {
    format!("sha256:{}", hexadecimal(&hash.finalize()))
}

fn path_of(state: &Path, image: &str) -> PathBuf {
    state.join(DIRECTORY).join(file_name(image))
}

/// Images have characters that files cannot have.
fn file_name(image: &str) -> String {
    format!("{}.json", hexadecimal(&Sha256::digest(image.as_bytes())[..16]))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to memory cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_its_image() {
        let state = tempfile::tempdir().unwrap();
        let record = ImageRecord {
            image: "localhost:5000/filter:0.0.1-amd64".to_owned(),
            module: "filter".to_owned(),
            platform: "amd64".to_owned(),
            argv: vec!["/bin/true".to_owned()],
            cwd: "/".into(),
            env: BTreeMap::new(),
            digest: digest(Sha256::new()),
        };
        assert_eq!(lookup(state.path(), &record.image), None);
        save(state.path(), &record).unwrap();
        assert_eq!(lookup(state.path(), &record.image), Some(record));
        assert_eq!(lookup(state.path(), "localhost:5000/filter:0.0.2-amd64"), None);
    }

    #[test]
    fn a_damaged_record_is_none() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join(DIRECTORY)).unwrap();
        fs::write(path_of(state.path(), "a"), "{").unwrap();
        assert_eq!(lookup(state.path(), "a"), None);
    }
}
