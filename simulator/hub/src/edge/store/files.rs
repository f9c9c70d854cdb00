//! Where the log keeps its bytes: on disk, or in memory alone.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files by name.
pub trait Files: Send + Sync {
    /// The names of all.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file, and makes it if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Appendable>>;
    /// Makes a file that is written to its end soon, perhaps with zeros where that will stand.
    fn begin(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
        self.open(name)
    }
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Sees to it that files that were made are found again after a loss of power.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait Appendable: Send + Sync {
    /// Adds bytes at the end, which is at a place known to who writes: only zeros may stand behind it. On an error some of
    /// them may have been added.
    fn append(&self, bytes: &[u8], end: u64) -> io::Result<()>;
    /// Reads at a place; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Cuts the file off.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Waits until the file's bytes are on the disk.
    fn sync(&self) -> io::Result<()>;
    /// How long it is.
    fn length(&self) -> io::Result<u64>;
}

/// A directory.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// The files of a directory, which is made if absent.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Files for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
        let path = self.path(name);
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

impl Appendable for File {
    fn append(&self, bytes: &[u8], end: u64) -> io::Result<()> {
        self.write_all_at(bytes, end)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match std::os::unix::fs::FileExt::read_at(self, &mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Files that are gone with the process.
#[derive(Default)]
pub struct Memory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for Memory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
        Ok(Arc::<MemoryFile>::clone(self.lock().entry(name.to_owned()).or_default()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryFile {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appendable for MemoryFile {
    fn append(&self, bytes: &[u8], end: u64) -> io::Result<()> {
        let mut all = self.lock();
        all.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        all.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = self.lock();
        let rest = usize::try_from(position).ok().and_then(|position| bytes.get(position..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.lock().truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }
}
