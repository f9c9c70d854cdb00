//! Archives of images: a layout in one file, with the document beside it that engines before Docker 25 need.

use std::fs::File;
use std::io::{Read, Write};

use serde_json::json;
use tar::{EntryType, Header};

use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{Descriptor, Index, Manifest};
use crate::image::oci::layout::{self, INDEX_FILE, MARK};
use crate::image::oci::store::Store;

/// The document in which engines look for images.
pub const IMAGES: &str = "manifest.json";

/// An image of an archive.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Its manifest.
    pub manifest: Descriptor,
    /// The names that it gets.
    pub names: Vec<String>,
}

/// Writes images as an archive that engines load.
pub fn write(store: &Store, images: &[Packed], writer: impl Write) -> Result<(), ImageError> {
    let mut archive = tar::Builder::new(writer);
    let mut documents = Vec::new();
    let mut entries = Vec::new();
    for image in images {
        let manifest: Manifest = store.document(&image.manifest)?;
        documents.push(json!({
            "Config": place(&manifest.config.digest),
            "RepoTags": image.names,
            "Layers": manifest.layers.iter().map(|layer| place(&layer.digest)).collect::<Vec<_>>(),
        }));
        entries.extend(image.names.iter().map(|name| image.manifest.clone().named(name)));
    }
    let manifests: Vec<Descriptor> = images.iter().map(|image| image.manifest.clone()).collect();
    for descriptor in layout::content(store, &manifests)? {
        // Checked as a whole before a byte of it leaves.
        if !store.verify(&descriptor) {
            return Err(ImageError::Corrupt { digest: descriptor.digest.to_string() });
        }
        let (name, path) = (place(&descriptor.digest), store.path(&descriptor.digest));
        let content = File::open(&path).map_err(ImageError::io(path))?;
        append(&mut archive, &name, descriptor.size, content)?;
    }
    document(&mut archive, MARK, &layout::mark())?;
    document(&mut archive, INDEX_FILE, json!(Index::new(entries)).to_string().as_bytes())?;
    document(&mut archive, IMAGES, json!(documents).to_string().as_bytes())?;
    archive.into_inner().and_then(|mut writer| writer.flush()).map_err(ImageError::io("the archive"))
}

fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hexadecimal())
}

fn document(archive: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> Result<(), ImageError> {
    append(archive, path, bytes.len() as u64, bytes)
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, size: u64, content: impl Read) -> Result<(), ImageError> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    archive.append_data(&mut header, path, content).map_err(ImageError::io("the archive"))
}
