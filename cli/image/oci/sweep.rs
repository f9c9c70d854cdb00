//! Taking out of a store what nothing names any more.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use crate::image::error::ImageError;
use crate::image::oci::document::Descriptor;
use crate::image::oci::layout;
use crate::image::oci::store::Store;

/// What is younger may belong to a build that is going on, and that nothing names yet.
const LEAST_AGE: Duration = Duration::from_hours(1);

/// Removes content that neither the layout's entries nor `others` name. Returns how many bytes are free again.
pub fn sweep(store: &Store, others: &[Descriptor], now: SystemTime) -> Result<u64, ImageError> {
    let entries = layout::read(store.root())?;
    let named = layout::content(store, &entries)?;
    let kept: BTreeSet<&str> = named.iter().chain(others).map(|found| found.digest.hexadecimal()).collect();
    let folder = store.root().join("blobs").join("sha256");
    let mut freed = 0;
    for entry in fs::read_dir(&folder).map_err(ImageError::io(&folder))?.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
        let is_named = entry.file_name().to_str().is_some_and(|name| kept.contains(name));
        // One that another build removes at the same time is gone as well.
        if !is_named && age >= LEAST_AGE && fs::remove_file(entry.path()).is_ok() {
            freed += metadata.len();
        }
    }
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::oci::document::{CONFIG, LAYER, MANIFEST, Manifest};

    #[test]
    fn what_nothing_names_goes_when_it_is_old_enough() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path());
        let config = store.put(CONFIG, b"{}").unwrap();
        let layer = store.put(LAYER, b"named").unwrap();
        let manifest = serde_json::json!(Manifest::new(config, vec![layer.clone()])).to_string();
        let manifest = store.put(MANIFEST, manifest.as_bytes()).unwrap();
        layout::add(place.path(), &[manifest.named("a")]).unwrap();
        let other = store.put(LAYER, b"other").unwrap();
        store.put(LAYER, b"nobody's").unwrap();
        let now = SystemTime::now();
        assert_eq!(sweep(&store, std::slice::from_ref(&other), now).unwrap(), 0);
        assert_eq!(sweep(&store, std::slice::from_ref(&other), now + LEAST_AGE * 2).unwrap(), 8);
        assert!(store.has(&layer) && store.has(&other));
    }
}
