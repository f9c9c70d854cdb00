//! The store: appended once, read by every queue that wants the message, forgotten when all have it.
//!
//! What waits is in the log; in memory are the oldest messages of each queue, as many as there is room for. A queue that
//! has fallen behind reads the log again, a block at a time and without keeping anybody from appending.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::commit::Commits;
use super::durability::Durability;
use super::files::{Disk, Files, Memory};
use super::log::{Log, LogError, failed};
use super::prepared::Prepared;
use super::queue::{Cursor, Queue};
use super::reading::{Found, Reading};
use super::record::{Entry, QueueKey, Record, Target, encode_message};
use super::segment::Index;
use crate::message::Message;

/// How many messages of a queue may be done before the log is told, if no append comes along that tells it anyway.
const UNTOLD: u64 = 256;
/// The buffer for what is written is given back when it has grown beyond this.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A message that is to be kept, and the queues it goes to.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The message.
    pub message: Arc<Message>,
    /// When it came, milliseconds since the Unix epoch.
    pub enqueued_ms: u64,
    /// Its queues; at least one.
    pub targets: Vec<Target>,
}

/// Messages that wait in one queue.
#[derive(Debug, Default)]
pub struct Batch {
    /// The queue they stand in; none if the endpoint has no message.
    pub queue: Option<QueueKey>,
    /// The messages, oldest first.
    pub messages: Vec<Entry>,
    /// How many of them, from the first, were on their way before.
    pub redelivered: usize,
    /// Messages of the endpoint that had expired.
    pub expired: Vec<Arc<Message>>,
}

/// Messages that expired while nobody asked for them.
#[derive(Debug, Default)]
pub struct Swept {
    /// Those that were in memory.
    pub messages: Vec<Arc<Message>>,
    /// How many more there were that only the log had.
    pub unread: usize,
}

/// Messages were not kept, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There is no room for more, until some are delivered.
    #[error("the store is full: {size} bytes, the most is {limit}")]
    Full {
        /// Bytes that are kept.
        size: u64,
        /// Bytes that may be kept.
        limit: u64,
    },
    /// It cannot be told whether they would outlive a loss of power.
    #[error("the log of messages could not be synced")]
    NotSynced,
}

/// What bounds a store.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A segment that has grown to this size is closed and a new one begun.
    pub segment_bytes: u64,
    /// Bytes of messages kept in memory beside the log, so that what is delivered at once is not read back.
    pub memory_bytes: usize,
    /// Bytes of them for one queue.
    pub queue_memory_bytes: usize,
    /// Bytes of messages kept altogether; none for as many as the disk takes.
    pub limit_bytes: Option<u64>,
}

impl Bounds {
    /// The bounds of a store of this durability.
    pub fn of(durability: Durability) -> Self {
        let on_disk = Self {
            segment_bytes: 16 * 1024 * 1024,
            memory_bytes: 24 * 1024 * 1024,
            queue_memory_bytes: 8 * 1024 * 1024,
            limit_bytes: None,
        };
        match durability {
            Durability::Process | Durability::Power => on_disk,
            Durability::Memory => Self { segment_bytes: 1024 * 1024, limit_bytes: Some(32 * 1024 * 1024), ..on_disk },
        }
    }
}

/// Messages in a log, in queues by name. Nothing but [`Store::append`] ever waits for another task.
pub struct Store {
    inner: Mutex<Inner>,
    commits: Option<Commits>,
}

struct Inner {
    log: Log,
    bounds: Bounds,
    next_offset: u64,
    queues: BTreeMap<QueueKey, Queue>,
    arrivals: HashMap<Arc<str>, Arc<Notify>>,
    loaded_bytes: usize,
    buffer: Vec<u8>,
}

impl Store {
    /// Opens the store in a directory and finds again what was kept and is not done.
    pub fn open(directory: &Path, durability: Durability) -> Result<Self, LogError> {
        let bounds = Bounds::of(durability);
        let files: io::Result<Arc<dyn Files>> = match durability {
            Durability::Memory => Ok(Arc::new(Memory::default())),
            Durability::Process => Disk::open(directory).map(|disk| Arc::new(disk) as _),
            Durability::Power => Prepared::open(directory, bounds.segment_bytes).map(|disk| Arc::new(disk) as _),
        };
        Self::on(files.map_err(failed("opening", directory.display().to_string()))?, durability, bounds)
    }

    /// Opens the store on files.
    pub fn on(files: Arc<dyn Files>, durability: Durability, bounds: Bounds) -> Result<Self, LogError> {
        let commits = (durability == Durability::Power).then(Commits::default);
        Ok(Self { inner: Mutex::new(Inner::open(files, bounds)?), commits })
    }

    /// Keeps messages. When this returns they are as safe as the store is set to keep them.
    pub async fn append(&self, messages: Vec<Incoming>) -> Result<u64, StoreError> {
        let mut arrivals = Vec::new();
        let (first, commit) = {
            let mut inner = self.lock();
            let first = inner.next_offset;
            inner.append(messages, self.commits.as_ref(), &mut arrivals)?;
            (first, self.commits.as_ref().map(Commits::current))
        };
        for arrival in arrivals {
            arrival.notify_one();
        }
        if let (Some(commits), Some(commit)) = (&self.commits, commit) {
            self.synced(commits, commit).await?;
        }
        Ok(first)
    }

    /// Waits until what was written is on the disk. One of those who wait does it for all.
    async fn synced(&self, commits: &Commits, commit: Arc<super::commit::Commit>) -> Result<(), StoreError> {
        let file = || {
            let inner = self.lock();
            // Those who write from now on wait for the next sync.
            (commits.close(), inner.log.file())
        };
        if commits.wait(&commit, file).await {
            return Ok(());
        }
        // What stands in the segment is in doubt; what follows must not stand behind it.
        self.lock().log.distrust();
        Err(StoreError::NotSynced)
    }

    /// The oldest messages of an endpoint's most urgent queue, at most `count`, that are still wanted at `now_ms` and not on
    /// their way. They are from now on, until [`Store::complete`] or [`Store::give_back`]. Messages that expired before them
    /// are done.
    pub fn take(&self, endpoint: &Arc<str>, count: usize, now_ms: u64) -> Result<Batch, LogError> {
        let mut batch = Batch::default();
        loop {
            let reading = self.lock().take(endpoint, count, now_ms, &mut batch)?;
            let Some(reading) = reading else { return Ok(batch) };
            match reading.read() {
                Ok(found) => self.lock().fill(&reading, found),
                Err(error) => self.lock().give_up(&reading, &error),
            }
        }
    }

    /// Nothing of an endpoint is on its way any more; what was not completed is taken again.
    pub fn give_back(&self, endpoint: &Arc<str>) {
        let mut inner = self.lock();
        for key in inner.keys(endpoint) {
            if let Some(queue) = inner.queues.get_mut(&key) {
                queue.give_back();
            }
        }
    }

    /// Marks all messages of a queue up to an offset as done. The log is told with the next append, or when the queue is
    /// empty, or after so many: until then they would be delivered once more after a crash, which at-least-once allows.
    pub fn complete(&self, queue: &QueueKey, offset: u64) -> Result<(), LogError> {
        let mut inner = self.lock();
        inner.complete(queue, offset);
        inner.tell_when_due(queue)
    }

    /// Gives up messages whose time is over and that nobody asked for, and returns those.
    pub fn sweep(&self, now_ms: u64) -> Swept {
        self.lock().sweep(now_ms)
    }

    /// Sets how many bytes of messages are kept; none for as many as the store keeps by itself.
    pub fn limit(&self, bytes: Option<u64>, durability: Durability) {
        self.lock().bounds.limit_bytes = bytes.or(Bounds::of(durability).limit_bytes);
    }

    /// All queues that hold messages, with how many.
    pub fn lengths(&self) -> Vec<(QueueKey, usize)> {
        let mut lengths = self.queues();
        lengths.retain(|(_, length)| *length > 0);
        lengths
    }

    /// All queues that hold messages, or held some since the store was opened, with how many.
    pub fn queues(&self) -> Vec<(QueueKey, usize)> {
        self.lock().queues.iter().map(|(key, queue)| (key.clone(), queue.len() as usize)).collect()
    }

    /// Whether a message that was put into a queue is still there.
    pub fn holds(&self, queue: &QueueKey, offset: u64) -> bool {
        self.lock().queues.get(queue).is_some_and(|queue| !queue.is_empty() && !queue.is_done(offset))
    }

    /// Told whenever a message comes in for the endpoint.
    pub fn arrivals(&self, endpoint: &Arc<str>) -> Arc<Notify> {
        self.lock().arrivals(endpoint)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    /// At an orderly end the log knows all that is done.
    fn drop(&mut self) {
        if let Err(error) = self.lock().tell_now() {
            tracing::warn!(%error, "messages that were delivered may be delivered again");
        }
    }
}

impl Inner {
    fn open(files: Arc<dyn Files>, bounds: Bounds) -> Result<Self, LogError> {
        let mut queues: BTreeMap<QueueKey, Queue> = BTreeMap::new();
        let mut next_offset = 0;
        let mut shares = Vec::new();
        let mut records = Vec::new();
        let log = Log::open(
            files,
            bounds.segment_bytes,
            |base, index| shares.extend(index.shares.iter().map(|share| (base, share.clone()))),
            |base, record| records.push((base, record)),
        )?;
        for (base, share) in shares {
            queues.entry(share.queue.clone()).or_default().restore_share(base, &share);
        }
        for (base, record) in records {
            match record {
                Record::Message(stored) => {
                    next_offset = next_offset.max(stored.offset + 1);
                    for target in stored.targets {
                        queues.entry(target.queue).or_default().restore_message(base, target.expires_ms);
                    }
                }
                Record::Checkpoint(checkpoint) => {
                    queues.entry(checkpoint.queue.clone()).or_default().restore_checkpoint(&checkpoint);
                }
                Record::Beginning(checkpoints) => {
                    for checkpoint in checkpoints {
                        queues.entry(checkpoint.queue.clone()).or_default().restore_checkpoint(&checkpoint);
                    }
                }
            }
        }
        let next_offset = next_offset.max(log.floor());
        let (arrivals, loaded_bytes, buffer) = (HashMap::new(), 0, Vec::new());
        let mut inner = Self { log, bounds, next_offset, queues, arrivals, loaded_bytes, buffer };
        inner.restored();
        Ok(inner)
    }

    fn restored(&mut self) {
        let keys: Vec<QueueKey> = self.queues.keys().cloned().collect();
        for key in keys {
            let arrivals = self.arrivals(&key.endpoint);
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            queue.arrivals = arrivals;
            queue.restored();
            for (base, left) in queue.left() {
                self.log.add_left(base, left);
            }
        }
        self.log.remove_done();
    }

    fn append(
        &mut self,
        messages: Vec<Incoming>,
        commits: Option<&Commits>,
        arrivals: &mut Vec<Arc<Notify>>,
    ) -> Result<(), StoreError> {
        if let Some(limit) = self.bounds.limit_bytes {
            let size = self.log.size();
            if size >= limit {
                return Err(StoreError::Full { size, limit });
            }
        }
        let base = self.writable_segment(commits)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let told = self.tell(&mut buffer);
        let mut places = Vec::with_capacity(messages.len());
        for (incoming, offset) in messages.iter().zip(self.next_offset..) {
            places.push(buffer.len() as u64);
            encode_message(&mut buffer, offset, incoming.enqueued_ms, &incoming.targets, &incoming.message);
        }
        let written = self.log.append(&buffer);
        buffer.shrink_to(BUFFER_BYTES);
        self.buffer = buffer;
        let start = written.inspect_err(|_| self.untell(told))?;
        for (incoming, place) in messages.into_iter().zip(places) {
            let offset = self.next_offset;
            self.next_offset += 1;
            let message = incoming.message;
            for target in incoming.targets {
                let entry = Entry {
                    offset,
                    enqueued_ms: incoming.enqueued_ms,
                    expires_ms: target.expires_ms,
                    message: Arc::clone(&message),
                };
                let place = Cursor { base, position: start + place };
                self.enqueue(&target.queue, entry, place, arrivals);
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, key: &QueueKey, entry: Entry, place: Cursor, arrivals: &mut Vec<Arc<Notify>>) {
        if !self.queues.contains_key(key) {
            let arrivals = self.arrivals(&key.endpoint);
            self.queues.insert(key.clone(), Queue::new(arrivals));
        }
        let Some(queue) = self.queues.get_mut(key) else { return };
        let bytes = queue.loaded_bytes();
        let may_load = self.loaded_bytes < self.bounds.memory_bytes && bytes < self.bounds.queue_memory_bytes;
        queue.push(entry, place, may_load);
        self.loaded_bytes += queue.loaded_bytes() - bytes;
        self.log.add_left(place.base, 1);
        if !arrivals.iter().any(|known| Arc::ptr_eq(known, &queue.arrivals)) {
            arrivals.push(Arc::clone(&queue.arrivals));
        }
    }

    /// The segment for what is written next; a new one where the last is full or in doubt.
    fn writable_segment(&mut self, commits: Option<&Commits>) -> Result<u64, LogError> {
        if let Some(base) = self.log.writable(self.next_offset) {
            return Ok(base);
        }
        let base = self.next_offset.max(self.log.floor());
        let mut index = Index::default();
        if let Some(before) = self.log.newest_base() {
            index.shares = self.queues.iter().filter_map(|(key, queue)| queue.share(key, before)).collect();
        }
        let checkpoints = self.queues.iter().map(|(key, queue)| queue.checkpoint(key, base)).collect();
        let mut first = Vec::new();
        Record::Beginning(checkpoints).encode(&mut first);
        let before = self.log.begin(base, index, &first)?;
        self.next_offset = base;
        self.queues.values_mut().for_each(Queue::told);
        if let Some(commits) = commits {
            commits.begun(self.log.files(), before);
        }
        self.log.remove_done();
        Ok(base)
    }

    /// Appends to a buffer how far the queues are done that the log was not told of, and returns which those are.
    fn tell(&mut self, buffer: &mut Vec<u8>) -> Vec<(QueueKey, u64)> {
        let Some(newest) = self.log.newest_base() else { return Vec::new() };
        let mut told = Vec::new();
        for (key, queue) in self.queues.iter_mut().filter(|(_, queue)| queue.untold() > 0) {
            Record::Checkpoint(queue.checkpoint(key, newest)).encode(buffer);
            told.push((key.clone(), queue.untold()));
            queue.told();
        }
        told
    }

    /// The log was not told after all.
    fn untell(&mut self, told: Vec<(QueueKey, u64)>) {
        for (key, count) in told {
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.not_told(count);
            }
        }
    }

    /// Tells the log how far the queues are done, if one has not told for long, or is empty, or a segment can go then.
    fn tell_when_due(&mut self, key: &QueueKey) -> Result<(), LogError> {
        let Some(queue) = self.queues.get(key) else { return Ok(()) };
        let can_go = self.log.has_done();
        if !can_go && queue.untold() < UNTOLD && !(queue.is_empty() && queue.untold() > 0) {
            return Ok(());
        }
        let told = self.tell_now();
        // Even if that could not be written: it is on a full disk that segments have to go.
        self.log.remove_done();
        told
    }

    fn tell_now(&mut self) -> Result<(), LogError> {
        let mut bytes = Vec::new();
        let told = self.tell(&mut bytes);
        if told.is_empty() {
            return Ok(());
        }
        self.log.append(&bytes).map(|_| ()).inspect_err(|_| self.untell(told))
    }

    /// Adds to the batch what can be taken now, or says what has to be read first.
    fn take(
        &mut self,
        endpoint: &Arc<str>,
        count: usize,
        now_ms: u64,
        batch: &mut Batch,
    ) -> Result<Option<Reading>, LogError> {
        for key in self.keys(endpoint) {
            batch.expired.extend(self.drop_expired(&key, now_ms)?);
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            if let Some(from) = queue.missing() {
                let done = queue.done();
                match self.log.source(from.base) {
                    Some((files, length)) => return Ok(Some(Reading { queue: key, from, done, files, length })),
                    None => continue,
                }
            }
            let (messages, redelivered) = queue.take(count, now_ms);
            if !messages.is_empty() {
                (batch.queue, batch.messages, batch.redelivered) = (Some(key), messages, redelivered);
                break;
            }
        }
        Ok(None)
    }

    fn fill(&mut self, reading: &Reading, found: Found) {
        let length = self.log.source(reading.from.base).map_or(0, |(_, length)| length);
        let Some(queue) = self.queues.get_mut(&reading.queue) else { return };
        let bytes = queue.loaded_bytes();
        queue.fill(reading.from, found.to, found.to >= length, found.entries);
        self.loaded_bytes += queue.loaded_bytes() - bytes;
    }

    fn give_up(&mut self, reading: &Reading, error: &LogError) {
        let Some(queue) = self.queues.get_mut(&reading.queue) else { return };
        let lost = queue.give_up(reading.from);
        tracing::error!(%error, endpoint = %reading.queue.endpoint, lost, "messages are lost: the log cannot be read");
        self.log.subtract_left(reading.from.base, lost);
    }

    fn drop_expired(&mut self, key: &QueueKey, now_ms: u64) -> Result<Vec<Arc<Message>>, LogError> {
        let found = self.queues.get(key).and_then(|queue| queue.expired(now_ms));
        let Some((last, messages)) = found else { return Ok(Vec::new()) };
        self.complete(key, last);
        self.tell_when_due(key)?;
        Ok(messages)
    }

    fn complete(&mut self, key: &QueueKey, offset: u64) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        let bytes = queue.loaded_bytes();
        let log = &mut self.log;
        queue.complete(offset, |base, count| log.subtract_left(base, count));
        self.loaded_bytes -= bytes - queue.loaded_bytes();
    }

    fn sweep(&mut self, now_ms: u64) -> Swept {
        let (mut expired, mut count) = (Swept::default(), 0);
        let (log, next) = (&mut self.log, self.next_offset);
        for queue in self.queues.values_mut() {
            let bytes = queue.loaded_bytes();
            let messages = queue.expire_parts(now_ms, next, |base, left| {
                count += left as usize;
                log.subtract_left(base, left);
            });
            expired.messages.extend(messages);
            self.loaded_bytes -= bytes - queue.loaded_bytes();
        }
        if self.log.has_done() {
            if let Err(error) = self.tell_now() {
                tracing::warn!(%error, "the log is not told of messages that expired");
            }
            self.log.remove_done();
        }
        expired.unread = count.saturating_sub(expired.messages.len());
        expired
    }

    /// The queues of an endpoint, most urgent first.
    fn keys(&self, endpoint: &Arc<str>) -> Vec<QueueKey> {
        let from = QueueKey { endpoint: Arc::clone(endpoint), priority: 0 };
        self.queues.range(from..).map(|(key, _)| key).take_while(|key| key.endpoint == *endpoint).cloned().collect()
    }

    fn arrivals(&mut self, endpoint: &Arc<str>) -> Arc<Notify> {
        if let Some(known) = self.arrivals.get(endpoint) {
            return Arc::clone(known);
        }
        let arrivals = Arc::new(Notify::new());
        self.arrivals.insert(Arc::clone(endpoint), Arc::clone(&arrivals));
        arrivals
    }
}
