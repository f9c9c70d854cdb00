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
    /// How many of them, from the oldest, are on their way.
    taken: usize,
    /// Messages below this offset were on their way before.
    seen: u64,
}

impl Queue {
    /// Adds the newest message.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// The oldest messages that are not on their way.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.taken)
    }

    /// Sends so many of the oldest messages on their way. Returns how many of those had been before.
    pub fn take(&mut self, count: usize) -> usize {
        let seen = self.waiting().take(count).take_while(|entry| entry.offset < self.seen).count();
        if let Some(last) = self.waiting().take(count).last() {
            self.seen = self.seen.max(last.offset + 1);
        }
        self.taken += count;
        seen
    }

    /// Nothing is on its way any more.
    pub fn give_back(&mut self) {
        self.taken = 0;
    }

    /// Whether nothing is on its way.
    pub fn is_at_rest(&self) -> bool {
        self.taken == 0
    }

    /// The offset of the oldest message.
    pub fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.offset)
    }

    /// Removes all messages up to an offset, and tells of each.
    pub fn complete(&mut self, offset: u64, mut removed: impl FnMut(Entry)) {
        while self.oldest().is_some_and(|oldest| oldest <= offset) {
            if let Some(entry) = self.entries.pop_front() {
                self.taken = self.taken.saturating_sub(1);
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
