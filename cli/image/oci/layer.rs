//! Layers: an archive of files, compressed or not. The same files give the same bytes, on every machine and at any time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{Descriptor, LAYER, LAYER_GZIP};
use crate::image::oci::files::{Entry, Files};
use crate::image::oci::store::{Incoming, Store};

/// Compressed by itself, so that several can be at once; no part of the machine it happens on shows in the result.
const CHUNK: usize = 1024 * 1024;
/// How much of a file is read at once.
const READ: usize = 256 * 1024;
/// Images are built more often than they are sent far.
const LEVEL: Compression = Compression::new(1);

/// A layer in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Where it is.
    pub descriptor: Descriptor,
    /// The digest of its archive before it was compressed.
    pub diff_id: Digest,
    /// What it is for: the image's history shows it.
    pub purpose: String,
}

/// How a layer is kept and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is: for what stays on this machine, where compressing takes longer than anything else.
    Plain,
    /// Compressed with gzip.
    Gzip,
}

/// Writes files as a layer into a store. `time`, in seconds since 1970, is when all of them are said to have changed.
pub fn write(store: &Store, files: &Files, time: u64, purpose: &str, packing: Packing) -> Result<Layer, ImageError> {
    let incoming = store.receive()?;
    let (descriptor, diff_id) = match packing {
        Packing::Plain => {
            let mut plain = BufWriter::with_capacity(READ, Plain { incoming, hash: Sha256::new(), size: 0 });
            archive(files, time, &mut plain)?;
            let plain = plain.into_inner().map_err(|error| ImageError::io("the layer")(error.into_error()))?;
            plain.finish()?
        }
        Packing::Gzip => {
            let mut compressed = Compressed::new(incoming);
            archive(files, time, &mut compressed)?;
            compressed.finish()?
        }
    };
    Ok(Layer { descriptor, diff_id, purpose: purpose.to_owned() })
}

fn archive(files: &Files, time: u64, writer: impl Write) -> Result<(), ImageError> {
    let mut archive = tar::Builder::new(writer);
    for (path, entry) in files.iter() {
        append(&mut archive, path, entry, time)?;
    }
    archive.finish().map_err(ImageError::io("the layer"))
}

/// Compresses a layer that is not, in the store.
pub fn compress(store: &Store, layer: &Descriptor) -> Result<Descriptor, ImageError> {
    if layer.media_type != LAYER {
        return Ok(layer.clone());
    }
    let mut incoming = Compressed::new(store.receive()?);
    store.copy(layer, &mut incoming)?;
    Ok(incoming.finish()?.0)
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, entry: &Entry, time: u64) -> Result<(), ImageError> {
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let written = match entry {
        Entry::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Entry::File { source, executable } => {
            let file = File::open(source).map_err(ImageError::io(source))?;
            let size = file.metadata().map_err(ImageError::io(source))?.len();
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(size);
            // The archive asks for little at a time.
            let reader = BufReader::with_capacity(READ, Exact { file, left: size, path: source });
            archive.append_data(&mut header, path, reader)
        }
        Entry::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, path, target)
        }
    };
    written.map_err(ImageError::io(path))
}

/// A file that must be as long as it was when it was looked at: an archive has said so by then.
struct Exact<'a> {
    file: File,
    left: u64,
    path: &'a Path,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..wanted])?;
        self.left -= count as u64;
        if count == 0 && wanted > 0 {
            return Err(io::Error::other(format!("{} became shorter while it was read", self.path.display())));
        }
        Ok(count)
    }
}

/// Keeps what is written into it as it is.
struct Plain {
    incoming: Incoming,
    hash: Sha256,
    size: u64,
}

impl Plain {
    fn finish(self) -> Result<(Descriptor, Digest), ImageError> {
        let digest = Digest::of_hash(self.hash);
        self.incoming.keep(&digest)?;
        Ok((Descriptor::new(LAYER, digest.clone(), self.size), digest))
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.incoming.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.incoming.flush()
    }
}

/// A part, by its number in the whole.
type Part = (usize, Vec<u8>);

/// Compresses what is written into it, in parts that are gzip files of their own, which together are one. Threads compress
/// while the next part is read.
struct Compressed {
    incoming: Incoming,
    plain: Sha256,
    hash: Sha256,
    size: u64,
    chunk: Vec<u8>,
    /// Parts to compress; bounded, so that reading waits for those who compress.
    work: Option<SyncSender<Part>>,
    done: Receiver<io::Result<Part>>,
    workers: Vec<JoinHandle<()>>,
    /// Parts that were compressed before their turn.
    early: BTreeMap<usize, Vec<u8>>,
    given: usize,
    taken: usize,
}

impl Compressed {
    fn new(incoming: Incoming) -> Self {
        let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (work, parts) = sync_channel::<Part>(at_once);
        let (finished, done) = channel();
        let parts = Arc::new(Mutex::new(parts));
        let worker = || {
            let (parts, finished) = (Arc::clone(&parts), finished.clone());
            std::thread::spawn(move || {
                loop {
                    let next = parts.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, plain)) = next else { return };
                    if finished.send(gzip(&plain).map(|bytes| (number, bytes))).is_err() {
                        return;
                    }
                }
            })
        };
        let workers = (0..at_once).map(|_| worker()).collect();
        Self {
            incoming,
            plain: Sha256::new(),
            hash: Sha256::new(),
            size: 0,
            chunk: Vec::with_capacity(CHUNK),
            work: Some(work),
            done,
            workers,
            early: BTreeMap::new(),
            given: 0,
            taken: 0,
        }
    }

    /// Hands the part that was collected to those who compress, and keeps what they have done.
    fn hand_on(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        let sent = self.work.as_ref().is_some_and(|work| work.send((self.given, chunk)).is_ok());
        if !sent {
            return Err(io::Error::other("compression failed"));
        }
        self.given += 1;
        while let Ok(part) = self.done.try_recv() {
            self.take(part)?;
        }
        Ok(())
    }

    /// Writes a part, when its turn comes.
    fn take(&mut self, part: io::Result<Part>) -> io::Result<()> {
        let (number, bytes) = part?;
        self.early.insert(number, bytes);
        while let Some(bytes) = self.early.remove(&self.taken) {
            self.hash.update(&bytes);
            self.size += bytes.len() as u64;
            self.incoming.write_all(&bytes)?;
            self.taken += 1;
        }
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.hand_on()?;
        }
        self.work = None;
        while self.taken < self.given {
            let part = self.done.recv().map_err(|_| io::Error::other("compression failed"))?;
            self.take(part)?;
        }
        // All of them have nothing left to do.
        self.workers.drain(..).try_for_each(|worker| worker.join().map_err(|_| io::Error::other("compression failed")))
    }

    fn finish(mut self) -> Result<(Descriptor, Digest), ImageError> {
        self.complete().map_err(ImageError::io(self.incoming.path().to_owned()))?;
        let digest = Digest::of_hash(self.hash);
        self.incoming.keep(&digest)?;
        Ok((Descriptor::new(LAYER_GZIP, digest, self.size), Digest::of_hash(self.plain)))
    }
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.hand_on()?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        self.plain.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), LEVEL);
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use flate2::read::MultiGzDecoder;

    use super::*;

    fn files(place: &Path, order: &[&str]) -> Files {
        let mut files = Files::default();
        for name in order {
            files.add(&format!("app/{name}"), Entry::File { source: place.join(name), executable: *name == "run" });
        }
        files
    }

    #[test]
    fn the_same_files_are_the_same_bytes_whenever_and_in_whatever_order() {
        let place = tempfile::tempdir().unwrap();
        let long = "x".repeat(150);
        let large: Vec<u8> = (0..3_500_000_u32).flat_map(u32::to_le_bytes).take(3_500_000).collect();
        for (name, content) in [("run", large.as_slice()), (&long, b"long")] {
            fs::write(place.path().join(name), content).unwrap();
        }
        let store = Store::new(&place.path().join("store"));
        let write = |order: &[&str], packing| write(&store, &files(place.path(), order), 0, "code", packing).unwrap();
        let first = write(&["run", &long], Packing::Gzip);
        let as_it_is = write(&["run", &long], Packing::Plain);
        fs::write(place.path().join(&long), "long").unwrap();
        assert_eq!(write(&[&long, "run"], Packing::Gzip), first);
        assert_eq!(write(&[&long, "run"], Packing::Plain), as_it_is);

        let bytes = store.read(&first.descriptor).unwrap();
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(Digest::of(&plain), first.diff_id);
        assert_eq!(store.read(&as_it_is.descriptor).unwrap(), plain);
        assert_eq!(as_it_is.diff_id, first.diff_id);
        assert_eq!(compress(&store, &as_it_is.descriptor).unwrap(), first.descriptor);
        let mut archive = tar::Archive::new(plain.as_slice());
        let found: Vec<(String, u32, u64, u64)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap())
            })
            .collect();
        let expected = [("app/".to_owned(), 0o755), ("app/run".to_owned(), 0o755), (format!("app/{long}"), 0o644)];
        assert_eq!(found, expected.map(|(path, mode)| (path, mode, 0, 0)));
    }

    #[test]
    fn no_files_are_a_layer_too() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path());
        for packing in [Packing::Plain, Packing::Gzip] {
            let layer = write(&store, &Files::default(), 0, "", packing).unwrap();
            assert!(store.verify(&layer.descriptor));
        }
    }
}
