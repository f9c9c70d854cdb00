//! Image layouts: directories with content and an index of what is in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::image::error::ImageError;
use crate::image::oci::document::{Descriptor, Index, Manifest};
use crate::image::oci::store::Store;
use crate::output::file::write_atomically;

/// The file that says what the directory is.
pub const MARK: &str = "oci-layout";
/// The file with what is in it.
pub const INDEX_FILE: &str = "index.json";

/// What stands in the file that says what the directory is.
pub fn mark() -> Vec<u8> {
    json!({ "imageLayoutVersion": "1.0.0" }).to_string().into_bytes()
}

/// What is in a layout; nothing, where there is none yet.
pub fn read(root: &Path) -> Result<Vec<Descriptor>, ImageError> {
    let path = root.join(INDEX_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Index>(&bytes).map(|index| index.manifests).map_err(|error| {
            ImageError::NoImage { what: path.display().to_string(), reason: format!("it is no index: {error}") }
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ImageError::io(path)(error)),
    }
}

/// Adds entries to a layout, whose content is there already. One of the same name is replaced.
pub fn add(root: &Path, entries: &[Descriptor]) -> Result<(), ImageError> {
    let mut all = read(root)?;
    for entry in entries {
        all.retain(|known| match entry.name() {
            Some(name) => known.name() != Some(name),
            None => known.digest != entry.digest,
        });
        all.push(entry.clone());
    }
    let write = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        write_atomically(&path, bytes).map_err(ImageError::io(path))
    };
    write(MARK, &mark())?;
    write(INDEX_FILE, json!(Index::new(all)).to_string().as_bytes())
}

/// Copies all that entries name from one store into another.
pub fn copy(from: &Store, to: &Store, entries: &[Descriptor]) -> Result<(), ImageError> {
    for descriptor in content(from, entries)? {
        if !to.verify(&descriptor) {
            let mut incoming = to.receive()?;
            from.copy(&descriptor, &mut incoming)?;
            incoming.keep(&descriptor.digest)?;
        }
    }
    Ok(())
}

/// All content that entries name, the entries too, each once and what it needs before it.
pub fn content(store: &Store, entries: &[Descriptor]) -> Result<Vec<Descriptor>, ImageError> {
    let (mut all, mut known) = (Vec::new(), BTreeSet::new());
    for entry in entries {
        collect(store, entry, &mut all, &mut known)?;
    }
    Ok(all)
}

fn collect(
    store: &Store,
    entry: &Descriptor,
    all: &mut Vec<Descriptor>,
    known: &mut BTreeSet<String>,
) -> Result<(), ImageError> {
    if !known.insert(entry.digest.to_string()) {
        return Ok(());
    }
    if entry.is_index() {
        for manifest in &store.document::<Index>(entry)?.manifests {
            collect(store, manifest, all, known)?;
        }
    } else if entry.is_manifest() {
        for part in store.document::<Manifest>(entry)?.content() {
            collect(store, part, all, known)?;
        }
    }
    all.push(entry.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::oci::document::{CONFIG, INDEX, LAYER, MANIFEST};

    #[test]
    fn a_layout_is_copied_with_all_it_names_and_entries_are_replaced_by_name() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Store::new(here.path()), Store::new(there.path()));
        let config = from.put(CONFIG, b"{}").unwrap();
        let layer = from.put(LAYER, b"layer").unwrap();
        let manifest =
            from.put(MANIFEST, json!(Manifest::new(config, vec![layer.clone()])).to_string().as_bytes()).unwrap();
        let index = from.put(INDEX, json!(Index::new(vec![manifest.clone()])).to_string().as_bytes()).unwrap();
        copy(&from, &to, &[index.clone(), manifest.clone()]).unwrap();
        assert_eq!(to.read(&layer).unwrap(), b"layer");
        assert_eq!(content(&to, std::slice::from_ref(&index)).unwrap().len(), 4);
        add(there.path(), &[manifest.clone().named("a:1"), index.clone().named("a:2")]).unwrap();
        add(there.path(), &[index.named("a:1")]).unwrap();
        let names: Vec<_> = read(there.path()).unwrap().iter().map(|entry| entry.name().unwrap().to_owned()).collect();
        assert_eq!(names, ["a:2", "a:1"]);
    }
}
