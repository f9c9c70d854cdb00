//! The messages that wait for one endpoint at one priority, in order: how many in which segment, and the oldest of them
//! in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::record::{Checkpoint, Entry, QueueKey};
use super::segment::Share;
use crate::message::Message;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The segment.
    pub base: u64,
    /// Bytes from its beginning.
    pub position: u64,
}

/// The messages of the queue in one segment that are not done.
#[derive(Debug, Clone, Copy)]
struct Part {
    base: u64,
    left: u64,
    expires_ms: u64,
}

/// Messages in the order of their offsets.
#[derive(Debug, Default)]
pub struct Queue {
    parts: VecDeque<Part>,
    /// The oldest messages that are not done.
    loaded: VecDeque<Entry>,
    loaded_bytes: usize,
    /// Where the messages behind those in memory are; none if all are in memory.
    cursor: Option<Cursor>,
    /// How many of those in memory, from the oldest, are on their way.
    taken: usize,
    /// Messages below this offset were on their way before.
    seen: u64,
    /// All messages below this offset are done.
    done: u64,
    /// How many were done since the log was told.
    untold: u64,
    /// Told when a message comes.
    pub arrivals: Arc<Notify>,
}

impl Queue {
    /// An empty queue.
    pub fn new(arrivals: Arc<Notify>) -> Self {
        Self { arrivals, ..Self::default() }
    }

    /// Whether a message that was in the queue no longer is.
    pub fn is_done(&self, offset: u64) -> bool {
        offset < self.done
    }

    /// Takes over what an older segment holds for the queue.
    pub fn restore_share(&mut self, base: u64, share: &Share) {
        self.parts.push_back(Part { base, left: share.left, expires_ms: share.expires_ms });
    }

    /// Takes over a message that the newest segment holds.
    pub fn restore_message(&mut self, base: u64, expires_ms: u64) {
        self.count(base, expires_ms);
    }

    /// Takes over how far the queue was done.
    pub fn restore_checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.done = self.done.max(checkpoint.done);
        while self.parts.front().is_some_and(|part| part.base < checkpoint.base) {
            self.parts.pop_front();
        }
        if let Some(part) = self.parts.front_mut().filter(|part| part.base == checkpoint.base) {
            part.left = checkpoint.left;
        }
        if self.parts.front().is_some_and(|part| part.left == 0) {
            self.parts.pop_front();
        }
    }

    /// When all is taken over: nothing is in memory yet.
    pub fn restored(&mut self) {
        self.cursor = self.parts.front().map(|part| Cursor { base: part.base, position: 0 });
    }

    /// Adds the newest message, which the log has at `place`. It stays in memory if it may and none before it is missing
    /// there. Returns whether it does.
    pub fn push(&mut self, entry: Entry, place: Cursor, may_load: bool) -> bool {
        self.count(place.base, entry.expires_ms);
        let load = self.cursor.is_none() && may_load;
        if load {
            self.load(entry);
        } else if self.cursor.is_none() {
            self.cursor = Some(place);
        }
        load
    }

    fn count(&mut self, base: u64, expires_ms: u64) {
        match self.parts.back_mut().filter(|part| part.base == base) {
            Some(part) => (part.left, part.expires_ms) = (part.left + 1, part.expires_ms.max(expires_ms)),
            None => self.parts.push_back(Part { base, left: 1, expires_ms }),
        }
    }

    fn load(&mut self, entry: Entry) {
        self.loaded_bytes += entry.message.footprint();
        self.loaded.push_back(entry);
    }

    /// Bytes of the messages in memory.
    pub fn loaded_bytes(&self) -> usize {
        self.loaded_bytes
    }

    /// The place from which messages must be read before any can be taken; none if some are in memory, or none are left.
    pub fn missing(&self) -> Option<Cursor> {
        self.cursor.filter(|_| self.loaded.len() == self.taken)
    }

    /// All messages below this offset are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Takes in messages that were read from `from` up to `to`. `at_end` says that the segment has no more there now.
    pub fn fill(&mut self, from: Cursor, to: u64, at_end: bool, entries: Vec<Entry>) {
        // Nobody else moves the cursor of a queue that is read, unless the messages there expired meanwhile.
        if self.cursor != Some(from) {
            return;
        }
        for entry in entries {
            self.load(entry);
        }
        let next = self.parts.iter().find(|part| part.base > from.base);
        self.cursor = if at_end {
            next.map(|part| Cursor { base: part.base, position: 0 })
        } else {
            Some(Cursor { base: from.base, position: to })
        };
    }

    /// Sends the oldest messages on their way that are not yet, are still wanted and in memory, at most so many. The
    /// number says how many of them had been before.
    pub fn take(&mut self, count: usize, now_ms: u64) -> (Vec<Entry>, usize) {
        let waiting = self.loaded.iter().skip(self.taken).take(count);
        let entries: Vec<Entry> = waiting.take_while(|entry| entry.expires_ms > now_ms).cloned().collect();
        let redelivered = entries.iter().take_while(|entry| entry.offset < self.seen).count();
        if let Some(last) = entries.last() {
            self.seen = self.seen.max(last.offset + 1);
        }
        self.taken += entries.len();
        (entries, redelivered)
    }

    /// The oldest messages that have all expired, with the offset of the last; none if the first has not. What expires behind
    /// messages that are on their way waits for them: a queue is done from its front.
    pub fn expired(&self, now_ms: u64) -> Option<(u64, Vec<Arc<Message>>)> {
        if self.taken > 0 {
            return None;
        }
        let expired = self.loaded.iter().take_while(|entry| entry.expires_ms <= now_ms);
        let last = expired.clone().last()?.offset;
        Some((last, expired.map(|entry| Arc::clone(&entry.message)).collect()))
    }

    /// Nothing is on its way any more.
    pub fn give_back(&mut self) {
        self.taken = 0;
    }

    /// Marks all messages up to an offset as done, and tells for each segment how many those were.
    pub fn complete(&mut self, offset: u64, mut done: impl FnMut(u64, u64)) {
        while self.loaded.front().is_some_and(|entry| entry.offset <= offset) {
            if let Some(entry) = self.loaded.pop_front() {
                self.loaded_bytes = self.loaded_bytes.saturating_sub(entry.message.footprint());
                self.taken = self.taken.saturating_sub(1);
                self.untold += 1;
                self.subtract(&mut done);
            }
        }
        self.done = self.done.max(offset + 1);
    }

    fn subtract(&mut self, done: &mut impl FnMut(u64, u64)) {
        let Some(part) = self.parts.front_mut() else { return };
        part.left = part.left.saturating_sub(1);
        done(part.base, 1);
        if part.left == 0 {
            self.parts.pop_front();
        }
    }

    /// Gives up the messages of segments in which all have expired, if none is on its way, and tells for each segment how
    /// many those were. `next` is the first offset that is not given yet. Returns those of them that were in memory.
    pub fn expire_parts(&mut self, now_ms: u64, next: u64, mut done: impl FnMut(u64, u64)) -> Vec<Arc<Message>> {
        let mut expired = Vec::new();
        while let Some(part) = self.parts.front().copied().filter(|part| part.expires_ms <= now_ms && self.taken == 0) {
            self.parts.pop_front();
            let end = self.parts.front().map_or(next, |part| part.base);
            while self.loaded.front().is_some_and(|entry| entry.offset < end) {
                let Some(Entry { message, .. }) = self.loaded.pop_front() else { break };
                self.loaded_bytes = self.loaded_bytes.saturating_sub(message.footprint());
                expired.push(message);
            }
            if self.cursor.is_some_and(|cursor| cursor.base <= part.base) {
                self.cursor = self.parts.front().map(|part| Cursor { base: part.base, position: 0 });
            }
            self.done = self.done.max(end);
            self.untold += part.left;
            done(part.base, part.left);
        }
        expired
    }

    /// Gives up the messages of a segment that cannot be read, and tells how many those were.
    pub fn give_up(&mut self, from: Cursor) -> u64 {
        let loaded_left: u64 = self.loaded.len() as u64;
        let mut lost = 0;
        if let Some(index) = self.parts.iter().position(|part| part.base == from.base) {
            // Those in memory were read from this segment or an earlier one.
            let before: u64 = self.parts.iter().take(index).map(|part| part.left).sum();
            let kept = loaded_left.saturating_sub(before);
            lost = self.parts[index].left.saturating_sub(kept);
            self.parts[index].left -= lost;
            let next = self.parts.get(index + 1).map(|part| Cursor { base: part.base, position: 0 });
            if self.parts[index].left == 0 {
                self.parts.remove(index);
            }
            self.cursor = next;
        } else {
            self.cursor = None;
        }
        lost
    }

    /// How far the queue is done, for the log; `newest` is the segment that it is told in.
    pub fn checkpoint(&self, key: &QueueKey, newest: u64) -> Checkpoint {
        let (base, left) = self.parts.front().map_or((newest, 0), |part| (part.base, part.left));
        Checkpoint { queue: key.clone(), done: self.done, base, left }
    }

    /// How many messages were done since the log was told.
    pub fn untold(&self) -> u64 {
        self.untold
    }

    /// The log was told.
    pub fn told(&mut self) {
        self.untold = 0;
    }

    /// The log was not told of so many, after all.
    pub fn not_told(&mut self, count: u64) {
        self.untold += count;
    }

    /// What the queue has left in a segment.
    pub fn share(&self, key: &QueueKey, base: u64) -> Option<Share> {
        let part = self.parts.iter().rev().find(|part| part.base == base)?;
        Some(Share { queue: key.clone(), left: part.left, expires_ms: part.expires_ms })
    }

    /// How many messages of each segment are left.
    pub fn left(&self) -> impl Iterator<Item = (u64, u64)> {
        self.parts.iter().map(|part| (part.base, part.left))
    }

    /// How many messages are left.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.left).sum()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
