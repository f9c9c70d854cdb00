//! A module that is one compiled program.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::records::digest;

/// The outcome of a build: `executable` runs in `directory`. `cached` says whether nothing had to be done.
pub fn built(executable: &Path, cached: bool, directory: &Path) -> Result<Built, ImageError> {
    Ok(Built {
        argv: vec![executable.to_string_lossy().into_owned()],
        cwd: directory.to_owned(),
        env: BTreeMap::new(),
        digest: digest_of(executable)?,
        cached,
    })
}

/// A hash of a program.
pub fn digest_of(executable: &Path) -> Result<String, ImageError> {
    let bytes = std::fs::read(executable).map_err(ImageError::io(executable))?;
    Ok(digest(Sha256::new_with_prefix(&bytes)))
}
