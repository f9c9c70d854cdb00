//! What the sources of a module are, in a hash.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::image::error::ImageError;
use crate::solution::sources;

/// Takes in the names and contents of all sources of a module, in order.
pub fn hash_sources(root: &Path, directory: &Path, hash: &mut Sha256) -> Result<(), ImageError> {
    for entry in sources::walk(root, directory) {
        let path = entry.path();
        let Some(name) =
            path.strip_prefix(directory).ok().filter(|_| entry.file_type().is_some_and(|kind| kind.is_file()))
        else {
            continue;
        };
        let content = fs::read(path).map_err(ImageError::io(path))?;
        hash.update(name.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
    }
    Ok(())
}
