//! Reading the log again for a queue that has fallen behind, a block at a time. Nobody is kept from appending meanwhile:
//! what was written once never changes.

use std::sync::Arc;

use super::files::{Appendable, Files};
use super::log::{LogError, failed};
use super::queue::Cursor;
use super::record::{Entry, HEADER_BYTES, QueueKey, Wanted, decode_for, record_length};
use super::segment::{self, BLOCK_BYTES, log_name};

/// A block of the log that a queue has to read.
pub struct Reading {
    /// The queue.
    pub queue: QueueKey,
    /// Where the block begins.
    pub from: Cursor,
    /// All messages of the queue below this offset are done.
    pub done: u64,
    /// Where the segments lie.
    pub files: Arc<dyn Files>,
    /// How long the segment is.
    pub length: u64,
}

/// What stood in a block.
pub struct Found {
    /// The messages of the queue.
    pub entries: Vec<Entry>,
    /// Where the next block begins.
    pub to: u64,
}

impl Reading {
    /// Reads the block. The error says that there is no whole record where it begins.
    pub fn read(&self) -> Result<Found, LogError> {
        let name = || log_name(self.from.base);
        let file = segment::open(self.files.as_ref(), self.from.base).map_err(failed("opening", name()))?;
        let is_stuck = |found: &Found| found.to == self.from.position && found.to < self.length;
        let mut found = self.block(file.as_ref(), BLOCK_BYTES)?;
        if is_stuck(&found) {
            // A record may be longer than a block.
            let header =
                segment::read_block(file.as_ref(), found.to, HEADER_BYTES).map_err(failed("reading", name()))?;
            found = self.block(file.as_ref(), record_length(&header).unwrap_or(BLOCK_BYTES))?;
        }
        if is_stuck(&found) {
            let source = std::io::Error::other(format!("damaged at byte {}", found.to));
            return Err(failed("reading", name())(source));
        }
        Ok(found)
    }

    /// The whole records of a block, up to the first that is damaged.
    fn block(&self, file: &dyn Appendable, length: usize) -> Result<Found, LogError> {
        let length = length.min(self.length.saturating_sub(self.from.position) as usize);
        let block = segment::read_block(file, self.from.position, length)
            .map_err(failed("reading", log_name(self.from.base)))?;
        let (mut at, mut entries) = (0, Vec::new());
        while let Ok((wanted, length)) = decode_for(&self.queue, self.done, &block[at..]) {
            if let Wanted::Message(entry) = wanted {
                entries.push(entry);
            }
            at += length;
        }
        Ok(Found { entries, to: self.from.position + at as u64 })
    }
}
