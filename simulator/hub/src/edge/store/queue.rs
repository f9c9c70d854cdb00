//! The messages that wait for one endpoint at one priority, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::log::Place;
use super::record::StoredMessage;

/// A message that waits.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its offset in the log.
    pub offset: u64,
    /// When it is no longer wanted, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Where the log has it.
    pub place: Place,
    /// The message itself, while memory is plentiful.
    pub cached: Option<Arc<StoredMessage>>,
}

/// Messages in the order of their offsets.
#[derive(Debug, Default)]
pub struct Queue {
    entries: VecDeque<Entry>,
}

impl Queue {
    /// Adds the newest message.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// The oldest messages, at most so many.
    pub fn first(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().take(count)
    }

    /// The offset of the oldest message.
    pub fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.offset)
    }

    /// Removes all messages up to an offset, and tells of each.
    pub fn complete(&mut self, offset: u64, mut removed: impl FnMut(Entry)) {
        while self.oldest().is_some_and(|oldest| oldest <= offset) {
            if let Some(entry) = self.entries.pop_front() {
                removed(entry);
            }
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
