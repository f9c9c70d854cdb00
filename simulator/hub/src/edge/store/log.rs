//! The segments of the log: appending to the newest, beginning the next, removing those that are done.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::files::{Appendable, Files};
use super::record::Record;
use super::segment::{self, Index, log_name};

/// The log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[error("the log of messages: {action} {name}: {source}")]
pub struct LogError {
    /// What was tried.
    pub action: &'static str,
    /// The file.
    pub name: String,
    /// What the system said.
    pub source: io::Error,
}

pub(super) fn failed(action: &'static str, name: String) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError { action, name, source }
}

/// The segments of one store.
pub struct Log {
    files: Arc<dyn Files>,
    segment_bytes: u64,
    /// The older ones, oldest first.
    sealed: VecDeque<Segment>,
    active: Option<Active>,
}

/// A segment, and how many deliveries of its messages are not done.
struct Segment {
    base: u64,
    length: u64,
    left: u64,
}

struct Active {
    segment: Segment,
    file: Arc<dyn Appendable>,
    /// A write failed and could not be taken back, or a sync failed: what follows must stand elsewhere.
    is_doubtful: bool,
}

impl Log {
    /// Opens a log. `index` is told what the older segments hold, `record` every record of the newest, each with the name
    /// of the segment and in order. An end that is not whole is cut off: it was never acknowledged.
    pub fn open(
        files: Arc<dyn Files>,
        segment_bytes: u64,
        mut index: impl FnMut(u64, &Index),
        mut record: impl FnMut(u64, Record),
    ) -> Result<Self, LogError> {
        let whole = |source| failed("reading", "its folder".to_owned())(source);
        let mut bases = segment::bases(files.as_ref()).map_err(whole)?;
        let newest = loop {
            let Some(base) = bases.pop() else { break None };
            if let Some(active) = Self::open_newest(files.as_ref(), base).map_err(failed("opening", log_name(base)))? {
                break Some(active);
            }
        };
        let mut log = Self { files, segment_bytes, sealed: VecDeque::new(), active: None };
        for base in bases {
            let name = || log_name(base);
            let kept = Index::read(log.files.as_ref(), base).map_err(failed("reading the index of", name()))?;
            let found = match kept {
                Some(found) => found,
                None => Index::rebuild(log.files.as_ref(), base).map_err(failed("reading", name()))?,
            };
            index(base, &found);
            log.sealed.push_back(Segment { base, length: found.length, left: 0 });
        }
        if let Some(active) = newest {
            let base = active.segment.base;
            segment::scan(active.file.as_ref(), |found| record(base, found))
                .map_err(failed("reading", log_name(base)))?;
            log.active = Some(active);
        }
        Ok(log)
    }

    /// The newest segment, if it was begun: one that does not say how far all queues were is nobody's.
    fn open_newest(files: &dyn Files, base: u64) -> io::Result<Option<Active>> {
        let file = segment::open(files, base)?;
        let mut first = None;
        let length = segment::scan(file.as_ref(), |record| {
            first.get_or_insert(matches!(record, Record::Beginning(_)));
        })?;
        segment::cut(files, base, file.as_ref(), length)?;
        if first != Some(true) {
            segment::remove(files, base)?;
            return Ok(None);
        }
        Ok(Some(Active { segment: Segment { base, length, left: 0 }, file, is_doubtful: false }))
    }

    /// The base of the segment that is written now, if that can go on.
    pub fn writable(&self, next_offset: u64) -> Option<u64> {
        let active = self.active.as_ref().filter(|active| !active.is_doubtful)?;
        let segment = &active.segment;
        (segment.length < self.segment_bytes || segment.base >= next_offset).then_some(segment.base)
    }

    /// The first offset that no segment's name has taken.
    pub fn floor(&self) -> u64 {
        self.newest_base().map_or(0, |base| base + 1)
    }

    /// The name of the newest segment.
    pub fn newest_base(&self) -> Option<u64> {
        let sealed = self.sealed.back().map(|segment| segment.base);
        self.active.as_ref().map(|active| active.segment.base).or(sealed)
    }

    /// Begins a new segment with its first record. `index` says what is left in the one before it, whose file is returned.
    pub fn begin(&mut self, base: u64, index: Index, first: &[u8]) -> Result<Option<Arc<dyn Appendable>>, LogError> {
        let name = || log_name(base);
        let file = self.files.begin(&log_name(base)).map_err(failed("making", name()))?;
        if let Err(error) = file.append(first, 0) {
            // Whether or not this succeeds: a segment that was not begun counts for nothing.
            let _ = segment::remove(self.files.as_ref(), base);
            return Err(failed("beginning", name())(error));
        }
        let segment = Segment { base, length: first.len() as u64, left: 0 };
        let before = self.active.replace(Active { segment, file, is_doubtful: false });
        Ok(before.map(|before| {
            let index = Index { length: before.segment.length, ..index };
            if let Err(error) = index.write(self.files.as_ref(), before.segment.base) {
                // It is made anew when it is missed.
                tracing::warn!(%error, segment = log_name(before.segment.base), "the index cannot be written");
            }
            if let Err(error) = before.file.truncate(before.segment.length) {
                // Only room is lost: what stands behind the records is nothing to anybody.
                tracing::warn!(%error, segment = log_name(before.segment.base), "the segment cannot be cut off");
            }
            self.sealed.push_back(before.segment);
            before.file
        }))
    }

    /// Appends records to the newest segment, all or none, and returns where they begin.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, LogError> {
        let Some(active) = &mut self.active else { return Err(no_segment()) };
        let position = active.segment.length;
        if let Err(error) = active.file.append(bytes, position) {
            // What was written of it must not stay: the next append would stand behind half a record.
            active.is_doubtful = active.file.truncate(position).is_err();
            return Err(failed("writing", log_name(active.segment.base))(error));
        }
        active.segment.length += bytes.len() as u64;
        Ok(position)
    }

    /// Where the segments lie.
    pub fn files(&self) -> Arc<dyn Files> {
        Arc::clone(&self.files)
    }

    /// The file that is written now.
    pub fn file(&self) -> Option<Arc<dyn Appendable>> {
        self.active.as_ref().map(|active| Arc::clone(&active.file))
    }

    /// Writes no more to the segment that is written now.
    pub fn distrust(&mut self) {
        if let Some(active) = &mut self.active {
            active.is_doubtful = true;
        }
    }

    /// What is needed to read in a segment without the log: its files, and its length now.
    pub fn source(&self, base: u64) -> Option<(Arc<dyn Files>, u64)> {
        let newest = self.active.as_ref().map(|active| &active.segment).filter(|segment| segment.base == base);
        let segment = newest.or_else(|| self.sealed.iter().find(|segment| segment.base == base))?;
        Some((Arc::clone(&self.files), segment.length))
    }

    /// Counts deliveries that are to be made of messages in a segment.
    pub fn add_left(&mut self, base: u64, count: u64) {
        if let Some(segment) = self.segment(base) {
            segment.left += count;
        }
    }

    /// Counts deliveries that are done.
    pub fn subtract_left(&mut self, base: u64, count: u64) {
        if let Some(segment) = self.segment(base) {
            segment.left = segment.left.saturating_sub(count);
        }
    }

    /// Whether nothing is left of a segment that is not the newest.
    pub fn has_done(&self) -> bool {
        self.sealed.iter().any(|segment| segment.left == 0)
    }

    /// Removes the segments of which nothing is left, but not the newest.
    pub fn remove_done(&mut self) {
        let files = Arc::clone(&self.files);
        self.sealed.retain(|segment| {
            if segment.left == 0
                && let Err(error) = segment::remove(files.as_ref(), segment.base)
            {
                tracing::warn!(%error, segment = log_name(segment.base), "a segment cannot be removed");
            }
            segment.left > 0
        });
    }

    /// Bytes of all segments of which something is left.
    pub fn size(&self) -> u64 {
        let active = self.active.iter().map(|active| &active.segment);
        self.sealed.iter().chain(active).filter(|segment| segment.left > 0).map(|segment| segment.length).sum()
    }

    fn segment(&mut self, base: u64) -> Option<&mut Segment> {
        let newest = self.active.as_mut().map(|active| &mut active.segment).filter(|segment| segment.base == base);
        newest.or_else(|| self.sealed.iter_mut().find(|segment| segment.base == base))
    }
}

fn no_segment() -> LogError {
    failed("writing", "no segment".to_owned())(io::ErrorKind::NotFound.into())
}
