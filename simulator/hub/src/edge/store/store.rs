//! The store: appended once, read by every queue that wants the message, forgotten when all have it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::log::{Log, LogError};
use super::queue::{Entry, Queue};
use super::record::{QueueKey, Record, StoredMessage, Target};
use crate::message::Message;

/// Bytes of messages kept in memory beside the log, so that what is delivered at once is not read back.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A message that is to be kept, and the queues it goes to.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The message.
    pub message: Message,
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
    pub messages: Vec<Arc<StoredMessage>>,
    /// How many of them, from the first, were on their way before.
    pub redelivered: usize,
    /// How many messages of the endpoint had expired.
    pub expired: usize,
}

/// Messages in a log on disk, in queues by name. All methods are short and never wait for another task.
pub struct Store {
    inner: Mutex<Inner>,
    arrivals: Mutex<HashMap<String, Arc<Notify>>>,
}

struct Inner {
    log: Log,
    next_offset: u64,
    queues: BTreeMap<QueueKey, Queue>,
    cached_bytes: usize,
    buffer: Vec<u8>,
}

impl Store {
    /// Opens the store in a directory and finds again what was kept and is not done.
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        let mut queues: BTreeMap<QueueKey, Queue> = BTreeMap::new();
        let mut next_offset = 0;
        let log = Log::open(directory, |record, place| match record {
            Record::Message(stored) => {
                next_offset = stored.offset + 1;
                for target in stored.targets {
                    let entry = Entry { offset: stored.offset, expires_ms: target.expires_ms, place, cached: None };
                    queues.entry(target.queue).or_default().push(entry);
                }
            }
            Record::Checkpoint { queue, offset } => {
                if let Some(queue) = queues.get_mut(&queue) {
                    queue.complete(offset, |_| {});
                }
            }
        })?;
        next_offset = next_offset.max(log.floor());
        let inner = Inner { log, next_offset, queues, cached_bytes: 0, buffer: Vec::new() };
        Ok(Self { inner: Mutex::new(inner), arrivals: Mutex::default() })
    }

    /// Keeps messages. When this returns they survive the death of the process.
    pub fn append(&self, messages: Vec<Incoming>) -> Result<(), LogError> {
        let mut touched = Vec::new();
        {
            let mut inner = self.lock();
            let inner = &mut *inner;
            let stored: Vec<_> = messages
                .into_iter()
                .zip(inner.next_offset..)
                .map(|(Incoming { message, enqueued_ms, targets }, offset)| StoredMessage {
                    offset,
                    enqueued_ms,
                    targets,
                    message: Arc::new(message),
                })
                .collect();
            inner.buffer.clear();
            let mut records = Vec::with_capacity(stored.len());
            let mut lengths = Vec::with_capacity(stored.len());
            for message in stored {
                let start = inner.buffer.len();
                let record = Record::Message(message);
                record.encode(&mut inner.buffer);
                lengths.push((inner.buffer.len() - start) as u32);
                records.push(record);
            }
            let places = inner.log.append(inner.next_offset, &inner.buffer, &lengths)?;
            inner.next_offset += records.len() as u64;
            for (record, place) in records.into_iter().zip(places) {
                let Record::Message(stored) = record else { continue };
                let stored = Arc::new(stored);
                for target in &stored.targets {
                    let cached = inner.cached_bytes < CACHE_BYTES;
                    if cached {
                        inner.cached_bytes += stored.message.body.len();
                    }
                    let entry = Entry {
                        offset: stored.offset,
                        expires_ms: target.expires_ms,
                        place,
                        cached: cached.then(|| Arc::clone(&stored)),
                    };
                    inner.queues.entry(target.queue.clone()).or_default().push(entry);
                    touched.push(target.queue.endpoint.clone());
                }
            }
        }
        self.announce(&touched);
        Ok(())
    }

    /// The oldest messages of an endpoint's most urgent queue, at most `count`, that are still wanted at `now_ms` and not on
    /// their way. They are from now on, until [`Store::complete`] or [`Store::give_back`]. Messages that expired before them
    /// are done.
    pub fn take(&self, endpoint: &str, count: usize, now_ms: u64) -> Result<Batch, LogError> {
        let mut inner = self.lock();
        let mut batch = Batch::default();
        for priority in inner.priorities(endpoint) {
            let key = QueueKey { endpoint: endpoint.to_owned(), priority };
            batch.expired += inner.drop_expired(&key, now_ms)?;
            let Some(queue) = inner.queues.get(&key) else { continue };
            batch.messages = queue
                .waiting()
                .take(count)
                .take_while(|entry| entry.expires_ms > now_ms)
                .map(|entry| inner.load(entry))
                .collect::<Result<_, _>>()?;
            if !batch.messages.is_empty() {
                batch.redelivered = inner.queues.get_mut(&key).map_or(0, |queue| queue.take(batch.messages.len()));
                batch.queue = Some(key);
                break;
            }
        }
        Ok(batch)
    }

    /// Nothing of an endpoint is on its way any more; what was not completed is taken again.
    pub fn give_back(&self, endpoint: &str) {
        let mut inner = self.lock();
        for priority in inner.priorities(endpoint) {
            let key = QueueKey { endpoint: endpoint.to_owned(), priority };
            if let Some(queue) = inner.queues.get_mut(&key) {
                queue.give_back();
            }
        }
    }

    /// Marks all messages of a queue up to an offset as done.
    pub fn complete(&self, queue: &QueueKey, offset: u64) -> Result<(), LogError> {
        self.lock().complete(queue, offset)
    }

    /// All queues that hold messages, with how many.
    pub fn lengths(&self) -> Vec<(QueueKey, usize)> {
        self.lock().queues.iter().map(|(key, queue)| (key.clone(), queue.len())).filter(|(_, n)| *n > 0).collect()
    }

    /// Told whenever a message comes in for the endpoint.
    pub fn arrivals(&self, endpoint: &str) -> Arc<Notify> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(arrivals.entry(endpoint.to_owned()).or_default())
    }

    fn announce(&self, endpoints: &[String]) {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in endpoints {
            if let Some(notify) = arrivals.get(endpoint) {
                notify.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The priorities at which an endpoint has queues, most urgent first.
    fn priorities(&self, endpoint: &str) -> Vec<u32> {
        let from = QueueKey { endpoint: endpoint.to_owned(), priority: 0 };
        self.queues
            .range(from..)
            .map(|(key, _)| key)
            .take_while(|key| key.endpoint == endpoint)
            .map(|key| key.priority)
            .collect()
    }

    fn drop_expired(&mut self, key: &QueueKey, now_ms: u64) -> Result<usize, LogError> {
        let Some(queue) = self.queues.get(key) else { return Ok(0) };
        // What expires behind messages that are on their way waits for them: a queue is done from its front.
        if !queue.is_at_rest() {
            return Ok(0);
        }
        let expired = queue.waiting().take_while(|entry| entry.expires_ms <= now_ms);
        let (count, last) = expired.fold((0, None), |(count, _), entry| (count + 1, Some(entry.offset)));
        if let Some(last) = last {
            self.complete(key, last)?;
        }
        Ok(count)
    }

    fn load(&self, entry: &Entry) -> Result<Arc<StoredMessage>, LogError> {
        if let Some(stored) = &entry.cached {
            return Ok(Arc::clone(stored));
        }
        match self.log.read(entry.place)? {
            Record::Message(stored) => Ok(Arc::new(stored)),
            Record::Checkpoint { .. } => Err(self.log.damaged_at(entry.place)),
        }
    }

    fn complete(&mut self, key: &QueueKey, offset: u64) -> Result<(), LogError> {
        let Some(queue) = self.queues.get_mut(key) else { return Ok(()) };
        if queue.oldest().is_none_or(|oldest| oldest > offset) {
            return Ok(());
        }
        self.buffer.clear();
        Record::Checkpoint { queue: key.clone(), offset }.encode(&mut self.buffer);
        let length = self.buffer.len() as u32;
        self.log.append(self.next_offset, &self.buffer, &[length])?;
        let cached_bytes = &mut self.cached_bytes;
        queue.complete(offset, |entry| {
            if let Some(stored) = entry.cached {
                *cached_bytes = cached_bytes.saturating_sub(stored.message.body.len());
            }
        });
        let oldest_wanted = self.queues.values().filter_map(Queue::oldest).min().unwrap_or(self.next_offset);
        self.log.remove_below(oldest_wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;

    const NEVER: u64 = u64::MAX;

    fn key(endpoint: &str) -> QueueKey {
        QueueKey { endpoint: endpoint.to_owned(), priority: 0 }
    }

    fn incoming(body: &str, queues: &[&str], expires_ms: u64) -> Incoming {
        let targets = queues.iter().map(|queue| Target { queue: key(queue), expires_ms }).collect();
        Incoming { message: Message::new(body.to_owned()), enqueued_ms: 1, targets }
    }

    fn bodies(store: &Store, queue: &str) -> Vec<String> {
        let batch = store.take(queue, 1000, 100).unwrap();
        store.give_back(queue);
        batch.messages.iter().map(|stored| String::from_utf8(stored.message.body.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_was_kept_and_not_done_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.append(vec![incoming("a", &["x", "y"], NEVER), incoming("b", &["x"], NEVER)]).unwrap();
        let first = store.take("x", 1, 100).unwrap();
        store.complete(&key("x"), first.messages[0].offset).unwrap();
        drop(store);

        let store = Store::open(directory.path()).unwrap();
        assert_eq!(bodies(&store, "x"), ["b"]);
        assert_eq!(bodies(&store, "y"), ["a"]);
        store.append(vec![incoming("c", &["x"], NEVER)]).unwrap();
        assert_eq!(bodies(&store, "x"), ["b", "c"]);
    }

    #[test]
    fn a_torn_last_write_is_cut_off_and_the_log_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        Store::open(directory.path()).unwrap().append(vec![incoming("a", &["x"], NEVER)]).unwrap();
        let segment = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        OpenOptions::new().append(true).open(&segment).unwrap().write_all(&[40, 0, 0, 0, 1, 2]).unwrap();

        let store = Store::open(directory.path()).unwrap();
        store.append(vec![incoming("b", &["x"], NEVER)]).unwrap();
        drop(store);
        assert_eq!(bodies(&Store::open(directory.path()).unwrap(), "x"), ["a", "b"]);
    }

    #[test]
    fn damage_in_the_middle_is_told_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.append(vec![incoming("a", &["x"], NEVER), incoming("b", &["x"], NEVER)]).unwrap();
        drop(store);
        let segment = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[20] ^= 0xff;
        std::fs::write(&segment, bytes).unwrap();
        let Err(LogError::Damaged { path, position }) = Store::open(directory.path()).map(|_| ()) else {
            panic!("damage was not seen")
        };
        assert_eq!((path, position), (segment, 0));
    }

    #[test]
    fn expired_messages_are_passed_over_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.append(vec![incoming("old", &["x"], 50), incoming("new", &["x"], NEVER)]).unwrap();
        let batch = store.take("x", 10, 50).unwrap();
        assert_eq!((batch.messages.len(), batch.expired), (1, 1));
        assert_eq!(store.lengths(), [(key("x"), 1)]);
    }

    #[test]
    fn the_more_urgent_queue_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.append(vec![incoming("later", &["x"], NEVER)]).unwrap();
        let mut urgent = incoming("urgent", &["x"], NEVER);
        urgent.targets[0].queue.priority = 0;
        let mut slow = incoming("slow", &["x"], NEVER);
        slow.targets[0].queue.priority = 9;
        store.append(vec![slow, urgent]).unwrap();
        assert_eq!(bodies(&store, "x"), ["later", "urgent"]);
        store.complete(&key("x"), 2).unwrap();
        assert_eq!(bodies(&store, "x"), ["slow"]);
    }

    #[test]
    fn segments_that_nobody_wants_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let body = "x".repeat(200_000);
        for _ in 0..250 {
            store.append(vec![incoming(&body, &["x"], NEVER)]).unwrap();
        }
        assert!(store.lock().log.size() > 40_000_000);
        store.complete(&key("x"), 249).unwrap();
        assert!(store.lock().log.size() < 20_000_000);
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        store.append(vec![incoming("next", &["x"], NEVER)]).unwrap();
        assert_eq!(store.take("x", 10, 100).unwrap().messages[0].offset, 250);
    }
}
