//! Files whose room is on the disk before they are begun.
//!
//! To sync a file that has grown, a file system writes its new length and its new blocks to a journal, and waits for that
//! and for whatever else stands there. Over zeros that are on the disk already only the bytes themselves are written. So the
//! next file is made while the present one is written, and gets its name when it is begun.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{Appendable, Disk, Files};

/// What the next file is called until it is begun.
const NAME: &str = "next";
/// Zeros written at once.
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// The files of a directory, of which the next one is always ready, or soon is.
pub struct Prepared {
    disk: Disk,
    next: Arc<Next>,
}

struct Next {
    path: PathBuf,
    bytes: u64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none, as at first and where the disk had no room.
    Absent,
    Making,
    Ready,
    /// None is wanted any more.
    Closed,
}

impl Prepared {
    /// The files of a directory, which is made if absent. Files that are begun are so many bytes long and grow when that is
    /// written.
    pub fn open(directory: &Path, bytes: u64) -> io::Result<Self> {
        let disk = Disk::open(directory)?;
        let next = Arc::new(Next { path: directory.join(NAME), bytes, state: Mutex::new(State::Absent) });
        Next::make(&next);
        Ok(Self { disk, next })
    }
}

impl Next {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next file in a thread of its own.
    fn make(self: &Arc<Self>) {
        let mut state = self.lock();
        if *state != State::Absent {
            return;
        }
        let next = Arc::clone(self);
        let made = std::thread::Builder::new().name("log room".to_owned()).spawn(move || {
            let filled = next.fill();
            let mut state = next.lock();
            let is_ready = filled.is_ok() && *state == State::Making;
            if let Err(error) = filled {
                tracing::debug!(%error, "room for the log cannot be made in advance");
            }
            if !is_ready {
                // What cannot be removed is written over when the log is opened again.
                let _ = fs::remove_file(&next.path);
            }
            if *state == State::Making {
                *state = if is_ready { State::Ready } else { State::Absent };
            }
        });
        if made.is_ok() {
            *state = State::Making;
        }
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let mut left = self.bytes;
        while left > 0 {
            let written = left.min(BLOCK.len() as u64);
            file.write_all(&BLOCK[..written as usize])?;
            left -= written;
        }
        file.sync_all()
    }

    /// Gives the next file its name, if it is ready.
    fn take(&self, path: &Path) -> bool {
        let mut state = self.lock();
        if *state != State::Ready {
            return false;
        }
        *state = State::Absent;
        fs::rename(&self.path, path).is_ok()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let mut state = self.next.lock();
        if *state == State::Ready {
            // It is written over when the log is opened again.
            let _ = fs::remove_file(&self.next.path);
        }
        *state = State::Closed;
    }
}

impl Files for Prepared {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
        self.disk.open(name)
    }

    fn begin(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
        let path = self.disk.path(name);
        if !path.exists() {
            self.next.take(&path);
        }
        Next::make(&self.next);
        self.disk.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_until_ready(files: &Prepared) {
        while *files.next.lock() == State::Making {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_file_is_begun_over_zeros_and_another_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let files = Prepared::open(folder.path(), 100_000).unwrap();
        for name in ["a", "b"] {
            wait_until_ready(&files);
            let file = files.begin(name).unwrap();
            assert_eq!(file.length().unwrap(), 100_000);
            file.append(b"begun", 0).unwrap();
            let mut start = [1; 7];
            file.read_at(&mut start, 0).unwrap();
            assert_eq!(&start, b"begun\0\0");
        }
        // What is there is not replaced.
        wait_until_ready(&files);
        let mut start = [0; 5];
        files.begin("a").unwrap().read_at(&mut start, 0).unwrap();
        assert_eq!(&start, b"begun");
        drop(files);
        assert!(!folder.path().join(NAME).exists());
    }

    #[test]
    fn without_room_in_advance_files_are_begun_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        // Nothing can be written where a folder stands.
        fs::create_dir(folder.path().join(NAME)).unwrap();
        let files = Prepared::open(folder.path(), 100).unwrap();
        wait_until_ready(&files);
        assert_eq!(files.begin("a").unwrap().length().unwrap(), 0);
    }
}
