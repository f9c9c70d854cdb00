//! Content by its digest, in files. What does not match its digest any more is removed and never served.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::Descriptor;

/// How much is copied at once.
const CHUNK: usize = 256 * 1024;
/// Most bytes of a document: registries take no larger ones.
const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;

/// A directory with content: `blobs/sha256/` of an image layout.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in the directory of a layout. Nothing is made yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory of the layout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where content is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join("sha256").join(digest.hexadecimal())
    }

    /// Whether content of that size is there; whether it is still what it was, reading tells.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        self.path(&descriptor.digest).metadata().is_ok_and(|file| file.is_file() && file.len() == descriptor.size)
    }

    /// Whether content is there and matches its digest. Where it does not it is removed.
    pub fn verify(&self, descriptor: &Descriptor) -> bool {
        let Ok(file) = File::open(self.path(&descriptor.digest)) else { return false };
        let matches =
            Digest::of_reader(file).is_ok_and(|(digest, size)| digest == descriptor.digest && size == descriptor.size);
        if !matches {
            self.remove(&descriptor.digest);
        }
        matches
    }

    /// Keeps bytes.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, ImageError> {
        let descriptor = Descriptor::of(media_type, bytes);
        if !self.verify(&descriptor) {
            let mut incoming = self.receive()?;
            incoming.write_all(bytes).map_err(ImageError::io(incoming.path.clone()))?;
            incoming.keep(&descriptor.digest)?;
        }
        Ok(descriptor)
    }

    /// Keeps what there is to read, and says what it was.
    pub fn put_reader(&self, media_type: &str, mut reader: impl Read) -> Result<Descriptor, ImageError> {
        let mut incoming = self.receive()?;
        let (mut hash, mut buffer, mut size) = (Sha256::new(), vec![0; CHUNK], 0);
        loop {
            let count = reader.read(&mut buffer).map_err(ImageError::io(incoming.path.clone()))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            incoming.write_all(&buffer[..count]).map_err(ImageError::io(incoming.path.clone()))?;
            size += count as u64;
        }
        let digest = Digest::of_hash(hash);
        incoming.keep(&digest)?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// A file for content that is on its way; it is gone if it is not kept.
    pub fn receive(&self) -> Result<Incoming, ImageError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let directory = self.root.join("blobs").join("sha256");
        fs::create_dir_all(&directory).map_err(ImageError::io(&directory))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".{}.{number}.part", std::process::id()));
        let file = File::create(&path).map_err(ImageError::io(&path))?;
        Ok(Incoming { directory, path, file, kept: false })
    }

    /// The bytes of content, checked.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let path = self.path(&descriptor.digest);
        let bytes = fs::read(&path).map_err(ImageError::io(&path))?;
        if Digest::of(&bytes) != descriptor.digest {
            self.remove(&descriptor.digest);
            return Err(ImageError::Corrupt { digest: descriptor.digest.to_string() });
        }
        Ok(bytes)
    }

    /// A document, checked.
    pub fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T, ImageError> {
        if descriptor.size > DOCUMENT_LIMIT {
            let reason = format!("it has {} bytes, which is more than a document may have", descriptor.size);
            return Err(ImageError::NoImage { what: descriptor.digest.to_string(), reason });
        }
        let bytes = self.read(descriptor)?;
        serde_json::from_slice(&bytes).map_err(|error| ImageError::NoImage {
            what: descriptor.digest.to_string(),
            reason: format!("it is no {}: {error}", descriptor.media_type),
        })
    }

    /// Copies content, checked, into a writer.
    pub fn copy(&self, descriptor: &Descriptor, mut writer: impl Write) -> Result<(), ImageError> {
        let path = self.path(&descriptor.digest);
        let mut file = File::open(&path).map_err(ImageError::io(&path))?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
        loop {
            let count = file.read(&mut buffer).map_err(ImageError::io(&path))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            writer.write_all(&buffer[..count]).map_err(ImageError::io("the output"))?;
        }
        if Digest::of_hash(hash) != descriptor.digest {
            self.remove(&descriptor.digest);
            return Err(ImageError::Corrupt { digest: descriptor.digest.to_string() });
        }
        Ok(())
    }

    /// Forgets content.
    pub fn remove(&self, digest: &Digest) {
        // What is not there need not be removed.
        let _ = fs::remove_file(self.path(digest));
    }
}

/// Content on its way into a store.
#[derive(Debug)]
pub struct Incoming {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Incoming {
    /// Where it is until it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place, in one step.
    pub fn keep(mut self, digest: &Digest) -> Result<(), ImageError> {
        self.file.flush().map_err(ImageError::io(&self.path))?;
        let place = self.directory.join(digest.hexadecimal());
        fs::rename(&self.path, &place).map_err(ImageError::io(&place))?;
        self.kept = true;
        Ok(())
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            // It may not even have been made.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_on_disk_is_removed_and_not_served() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path());
        let kept = store.put("text/plain", b"content").unwrap();
        assert_eq!(store.read(&kept).unwrap(), b"content");
        assert!(store.verify(&kept));
        let damage = || fs::write(store.path(&kept.digest), b"CONTENT").unwrap();
        damage();
        assert!(matches!(store.read(&kept), Err(ImageError::Corrupt { .. })));
        assert!(!store.has(&kept));
        store.put("text/plain", b"content").unwrap();
        damage();
        assert!(!store.verify(&kept) && !store.has(&kept));
        store.put("text/plain", b"content").unwrap();
        damage();
        assert!(store.copy(&kept, io::sink()).is_err() && !store.has(&kept));
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path());
        drop(store.receive().unwrap());
        assert_eq!(fs::read_dir(place.path().join("blobs/sha256")).unwrap().count(), 0);
    }
}
