//! Segment files: appending, reading at a place, and what is left after a crash.
//!
//! A segment is named for the first offset it may hold, `00000000000000000042.log`. Segments are removed whole, oldest
//! first, when nothing in them is wanted any more.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::{Read, Record};

/// A segment that has grown to this size is closed and a new one begun.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    segment: u64,
    position: u64,
    length: u32,
}

/// The log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record in the middle of the log is not what was written.
    #[error("{path}: damaged at byte {position}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The place of the damaged record.
        position: u64,
    },
}

struct Segment {
    base: u64,
    path: PathBuf,
    file: File,
    length: u64,
}

/// The segment files of one store.
pub struct Log {
    directory: PathBuf,
    segments: VecDeque<Segment>,
}

impl Log {
    /// Opens the log in a directory, which is made if absent, and hands every record to `visit` in order. A record that
    /// a crash left unfinished at the end of the log is cut off: it was never acknowledged.
    pub fn open(directory: &Path, mut visit: impl FnMut(Record, Place)) -> Result<Self, LogError> {
        std::fs::create_dir_all(directory).map_err(|source| io_error(directory, source))?;
        let mut bases = segment_bases(directory).map_err(|source| io_error(directory, source))?;
        bases.sort_unstable();
        let mut log = Self { directory: directory.to_owned(), segments: VecDeque::new() };
        let newest = bases.last().copied();
        for base in bases {
            let mut segment = open_segment(directory, base)?;
            read_segment(&mut segment, Some(base) == newest, &mut visit)?;
            log.segments.push_back(segment);
        }
        Ok(log)
    }

    /// Appends records that are encoded already and returns where each lies. They are written in one go, or not at all.
    pub fn append(&mut self, next_offset: u64, bytes: &[u8], lengths: &[u32]) -> Result<Vec<Place>, LogError> {
        // Checkpoints alone do not begin a segment: it would have the name of the one before it.
        if self.segments.back().is_none_or(|segment| segment.length >= SEGMENT_BYTES && segment.base < next_offset) {
            self.segments.push_back(open_segment(&self.directory, next_offset)?);
        }
        let Some(segment) = self.segments.back_mut() else { return Ok(Vec::new()) };
        if let Err(source) = segment.file.write_all(bytes) {
            // What was written of it must not stay: the next append would stand behind half a record.
            let _ = segment.file.set_len(segment.length);
            return Err(io_error(&segment.path, source));
        }
        let mut position = segment.length;
        segment.length += bytes.len() as u64;
        let places = lengths.iter().map(|&length| {
            let place = Place { segment: segment.base, position, length };
            position += u64::from(length);
            place
        });
        Ok(places.collect())
    }

    /// Reads the record at a place.
    pub fn read(&self, place: Place) -> Result<Record, LogError> {
        let segment =
            self.segments.iter().find(|segment| segment.base == place.segment).ok_or_else(|| self.damaged_at(place))?;
        let mut bytes = vec![0; place.length as usize];
        segment.file.read_exact_at(&mut bytes, place.position).map_err(|source| io_error(&segment.path, source))?;
        match Record::decode(&bytes) {
            Read::Record(record, _) => Ok(record),
            Read::Torn | Read::Damaged => Err(self.damaged_at(place)),
        }
    }

    /// The error for a place that does not hold what it should.
    pub fn damaged_at(&self, place: Place) -> LogError {
        LogError::Damaged { path: segment_path(&self.directory, place.segment), position: place.position }
    }

    /// Removes the segments that hold only offsets below `oldest_wanted`. The newest segment stays.
    pub fn remove_below(&mut self, oldest_wanted: u64) -> Result<(), LogError> {
        while self.segments.get(1).is_some_and(|second| second.base <= oldest_wanted) {
            if let Some(first) = self.segments.pop_front() {
                std::fs::remove_file(&first.path).map_err(|source| io_error(&first.path, source))?;
            }
        }
        Ok(())
    }

    /// Bytes in all segments.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// The first offset that a new message may have, going by the names of the segments.
    pub fn floor(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.base)
    }
}

fn read_segment(segment: &mut Segment, is_newest: bool, visit: &mut impl FnMut(Record, Place)) -> Result<(), LogError> {
    let bytes = std::fs::read(&segment.path).map_err(|source| io_error(&segment.path, source))?;
    let mut position = 0;
    while position < bytes.len() {
        match Record::decode(&bytes[position..]) {
            Read::Record(record, length) => {
                visit(record, Place { segment: segment.base, position: position as u64, length: length as u32 });
                position += length;
            }
            Read::Torn if is_newest => break,
            Read::Torn | Read::Damaged => {
                return Err(LogError::Damaged { path: segment.path.clone(), position: position as u64 });
            }
        }
    }
    segment.length = position as u64;
    if position < bytes.len() {
        segment.file.set_len(segment.length).map_err(|source| io_error(&segment.path, source))?;
    }
    Ok(())
}

fn open_segment(directory: &Path, base: u64) -> Result<Segment, LogError> {
    let path = segment_path(directory, base);
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| io_error(&path, source))?;
    Ok(Segment { base, path, file, length: 0 })
}

fn segment_path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}.log"))
}

fn segment_bases(directory: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            bases.extend(path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok()));
        }
    }
    Ok(bases)
}

fn io_error(path: &Path, source: io::Error) -> LogError {
    LogError::Io { path: path.to_owned(), source }
}
