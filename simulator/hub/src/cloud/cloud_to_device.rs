//! Messages from the cloud to devices: a queue for each device, kept on disk until the device has settled what is in it.
//!
//! The limits are the service's: 50 messages of 64 KiB for a device, an hour to live where the sender says nothing else,
//! a lock of one minute for whoever receives a message, and ten deliveries before a message is given up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_schemas::ids::DeviceId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::feedback::{Fate, Feedback, Record};
use crate::clock::{Clock, text_of};
use crate::documents::{Documents, DocumentsError, Table};
use crate::gateway::{Refusal, Settlement};
use crate::message::{Message, Properties, system};

const TABLE: Table = Table::new("cloudToDevice");
/// Most messages that wait for one device.
pub const MAX_MESSAGES: usize = 50;
/// Most bytes of a message: body and the names and values of its properties.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
/// Deliveries after which a message is given up.
pub const MAX_DELIVERIES: u32 = 10;
/// How long a message belongs to who received it.
pub const LOCK_TIME: Duration = Duration::from_mins(1);
const TIME_TO_LIVE_MS: u64 = 3_600_000;

/// A message does not get into a queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There are too many already.
    #[error("{0} has {MAX_MESSAGES} messages waiting, which is the most")]
    Full(DeviceId),
    /// The message is too large.
    #[error("the message has {0} bytes, the most is {MAX_MESSAGE_BYTES}")]
    TooLarge(usize),
    /// The time of its expiry is none.
    #[error("expiry {0:?} is not a time")]
    Expiry(String),
    /// The queue cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// A message that was received and belongs to the receiver for [`LOCK_TIME`].
#[derive(Debug, Clone)]
pub struct Received {
    /// The message; system properties name the lock, the number of deliveries and the place in the queue.
    pub message: Message,
    /// What settles it.
    pub lock: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

/// The queues of all devices.
pub struct CloudToDevice {
    documents: Arc<Documents>,
    feedback: Arc<Feedback>,
    clock: Arc<dyn Clock>,
    queues: Mutex<HashMap<DeviceId, Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    next: u64,
    changed: Arc<Notify>,
}

struct Entry {
    kept: Kept,
    lock: Option<Lock>,
}

struct Lock {
    token: String,
    until: Instant,
}

/// A message as it lies on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    sequence: u64,
    expires_ms: u64,
    deliveries: u32,
    /// Which of the devices that had the name it was sent to.
    #[serde(default)]
    generation: String,
    body: String,
    properties: Vec<(String, Option<String>)>,
    system: Vec<(String, Option<String>)>,
}

impl CloudToDevice {
    /// Loads what is kept in `documents`.
    pub fn open(
        documents: Arc<Documents>,
        feedback: Arc<Feedback>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DocumentsError> {
        let mut queues: HashMap<DeviceId, Queue> = HashMap::new();
        for (key, kept) in documents.all::<Kept>(TABLE)? {
            let Some(device) = key.split_once('/').and_then(|(device, _)| DeviceId::new(device).ok()) else { continue };
            let queue = queues.entry(device).or_default();
            queue.next = kept.sequence + 1;
            queue.waiting.push_back(Entry { kept, lock: None });
        }
        Ok(Self { documents, feedback, clock, queues: Mutex::new(queues) })
    }

    /// Puts a message behind the others. When this returns it is on disk.
    pub fn enqueue(&self, device: &DeviceId, generation: &str, message: Message) -> Result<(), QueueError> {
        let size = message.size();
        if size > MAX_MESSAGE_BYTES {
            return Err(QueueError::TooLarge(size));
        }
        let now = self.clock.now_ms();
        let expires_ms = expiry(&message, now)?;
        let mut queues = self.lock();
        let queue = queues.entry(device.clone()).or_default();
        self.drop_expired(device, queue)?;
        if queue.waiting.len() >= MAX_MESSAGES {
            return Err(QueueError::Full(device.clone()));
        }
        let kept =
            Kept { generation: generation.to_owned(), ..Kept::new(device, message, queue.next, expires_ms, now) };
        self.documents.put(TABLE, &key(device, kept.sequence), &kept)?;
        queue.next += 1;
        queue.waiting.push_back(Entry { kept, lock: None });
        queue.changed.notify_one();
        Ok(())
    }

    /// Takes the first message that nobody holds, for [`LOCK_TIME`].
    pub fn receive(&self, device: &DeviceId) -> Result<Option<Received>, QueueError> {
        let now = self.clock.now();
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(device) else { return Ok(None) };
        self.drop_expired(device, queue)?;
        let Some(entry) = queue.waiting.iter_mut().find(|entry| !entry.is_locked(now)) else { return Ok(None) };
        let delivered = Kept { deliveries: entry.kept.deliveries + 1, ..entry.kept.clone() };
        self.documents.put(TABLE, &key(device, delivered.sequence), &delivered)?;
        entry.kept = delivered;
        let token = uuid::Uuid::new_v4().to_string();
        entry.lock = Some(Lock { token: token.clone(), until: now + LOCK_TIME });
        let mut message = entry.kept.message();
        message.system.set(system::LOCK_TOKEN, token.clone());
        Ok(Some(Received { message, lock: token, redelivered: entry.kept.deliveries > 1 }))
    }

    /// Ends a lock: the message is removed, or waits again at its place, or is given up after so many deliveries.
    pub fn settle(&self, device: &DeviceId, lock: &str, settlement: Settlement) -> Result<(), Refusal> {
        let unavailable = |error: DocumentsError| Refusal::Unavailable(error.to_string());
        let now = self.clock.now();
        let mut queues = self.lock();
        let lost = || Refusal::NotFound(format!("message lock {lock}"));
        let queue = queues.get_mut(device).ok_or_else(lost)?;
        let holds = |entry: &Entry| entry.lock.as_ref().is_some_and(|held| held.token == lock && held.until > now);
        let at = queue.waiting.iter().position(holds).ok_or_else(lost)?;
        let given_up = queue.waiting[at].kept.deliveries >= MAX_DELIVERIES;
        if settlement == Settlement::Abandon && !given_up {
            queue.waiting[at].lock = None;
        } else {
            let fate = match settlement {
                Settlement::Complete => Fate::Success,
                Settlement::Reject => Fate::Rejected,
                Settlement::Abandon => Fate::DeliveryCountExceeded,
            };
            self.remove(device, queue, at, fate).map_err(unavailable)?;
        }
        queue.changed.notify_one();
        Ok(())
    }

    /// How many messages wait for a device, those that it holds among them.
    pub fn count(&self, device: &DeviceId) -> usize {
        let now = self.times();
        let queues = self.lock();
        queues.get(device).map_or(0, |queue| queue.waiting.iter().filter(|entry| !entry.is_over(now)).count())
    }

    /// Removes all messages of a device, and returns how many there were.
    pub fn purge(&self, device: &DeviceId) -> Result<usize, DocumentsError> {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(device) else { return Ok(0) };
        let removed = queue.waiting.len();
        while !queue.waiting.is_empty() {
            self.remove(device, queue, 0, Fate::Purged)?;
        }
        Ok(removed)
    }

    /// Drops what is over in all queues, so that those who want to know of it are told.
    pub fn sweep(&self) -> Result<(), DocumentsError> {
        let mut queues = self.lock();
        for (device, queue) in queues.iter_mut() {
            self.drop_expired(device, queue)?;
        }
        Ok(())
    }

    /// Ends a message. Its sender is told of it before it is gone, so that a crash in between tells twice and not never.
    fn remove(&self, device: &DeviceId, queue: &mut Queue, at: usize, fate: Fate) -> Result<(), DocumentsError> {
        let kept = &queue.waiting[at].kept;
        if fate.is_told(kept.system(system::ACK)) {
            self.feedback.add(vec![Record {
                original_message_id: kept.system(system::MESSAGE_ID).unwrap_or_default().to_owned(),
                enqueued_time_utc: self.clock.now_text(),
                status_code: fate,
                description: fate,
                device_id: device.clone(),
                device_generation_id: kept.generation.clone(),
            }])?;
        }
        self.documents.remove(TABLE, &key(device, kept.sequence))?;
        queue.waiting.remove(at);
        Ok(())
    }

    /// Tells when a message may have become ready for a device: one came, or one was given back. Who gets nothing waits
    /// for this, or for the next lock to end.
    pub fn changes(&self, device: &DeviceId) -> Arc<Notify> {
        Arc::clone(&self.lock().entry(device.clone()).or_default().changed)
    }

    /// How long until the next lock on a message of a device ends; none if there is no lock.
    pub fn next_unlock(&self, device: &DeviceId) -> Option<Duration> {
        let now = self.clock.now();
        let queues = self.lock();
        let ends = queues.get(device)?.waiting.iter().filter_map(|entry| entry.lock.as_ref()).map(|lock| lock.until);
        ends.filter(|until| *until > now).min().map(|until| until - now)
    }

    /// Drops what nobody holds and whose time, or number of deliveries, is used up.
    fn drop_expired(&self, device: &DeviceId, queue: &mut Queue) -> Result<(), DocumentsError> {
        let now = self.times();
        while let Some(at) = queue.waiting.iter().position(|entry| entry.is_over(now)) {
            let used_up = queue.waiting[at].kept.deliveries >= MAX_DELIVERIES;
            let fate = if used_up { Fate::DeliveryCountExceeded } else { Fate::Expired };
            self.remove(device, queue, at, fate)?;
        }
        Ok(())
    }

    /// Now, for locks and, milliseconds since the Unix epoch, for the ends of messages.
    fn times(&self) -> (Instant, u64) {
        (self.clock.now(), self.clock.now_ms())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_locked(&self, now: Instant) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.until > now)
    }

    fn is_over(&self, (now, now_ms): (Instant, u64)) -> bool {
        !self.is_locked(now) && (self.kept.expires_ms <= now_ms || self.kept.deliveries >= MAX_DELIVERIES)
    }
}

impl Kept {
    fn new(device: &DeviceId, mut message: Message, sequence: u64, expires_ms: u64, now: u64) -> Self {
        if message.system.get(system::TO).is_none() {
            message.system.set(system::TO, format!("/devices/{device}/messages/deviceBound"));
        }
        message.system.set(system::SEQUENCE_NUMBER, sequence.to_string());
        message.system.set(system::ENQUEUED_TIME, text_of(now));
        let pairs = |properties: &Properties| {
            properties.iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect()
        };
        let (properties, system) = (pairs(&message.properties), pairs(&message.system));
        Self {
            sequence,
            expires_ms,
            deliveries: 0,
            generation: String::new(),
            body: BASE64.encode(&message.body),
            properties,
            system,
        }
    }

    fn system(&self, name: &str) -> Option<&str> {
        self.system.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_deref())
    }

    fn message(&self) -> Message {
        // Nobody but us writes it, and only from bytes.
        let mut message = Message::new(BASE64.decode(&self.body).unwrap_or_default());
        for (name, value) in &self.properties {
            message.properties.set(name.clone(), value.clone());
        }
        for (name, value) in &self.system {
            message.system.set(name.clone(), value.clone());
        }
        message.system.set(system::DELIVERY_COUNT, self.deliveries.to_string());
        message
    }
}

fn expiry(message: &Message, now: u64) -> Result<u64, QueueError> {
    let Some(text) = message.system.get(system::EXPIRY) else { return Ok(now.saturating_add(TIME_TO_LIVE_MS)) };
    let time: Timestamp = text.parse().map_err(|_| QueueError::Expiry(text.to_owned()))?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// Sorts by device and, within a device, in the order of sending.
fn key(device: &DeviceId, sequence: u64) -> String {
    format!("{device}/{sequence:020}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cloud::feedback;
    use crate::hand_clock::HandClock;

    fn open(directory: &Path) -> (CloudToDevice, Arc<HandClock>) {
        let clock = HandClock::begin();
        let documents = Arc::new(Documents::open(&directory.join("documents")).unwrap());
        let feedback =
            Arc::new(Feedback::open(Arc::clone(&documents), feedback::TABLE, feedback::MAX_IN_BATCH).unwrap());
        (CloudToDevice::open(documents, feedback, clock.clone()).unwrap(), clock)
    }

    fn leaf() -> DeviceId {
        DeviceId::new("leaf").unwrap()
    }

    fn text(received: &Received) -> String {
        String::from_utf8(received.message.body.to_vec()).unwrap()
    }

    #[test]
    fn messages_come_in_order_one_holder_each_and_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, _) = open(directory.path());
        for body in ["a", "b", "c"] {
            queue.enqueue(&leaf(), "1", Message::new(body)).unwrap();
        }
        let first = queue.receive(&leaf()).unwrap().unwrap();
        let second = queue.receive(&leaf()).unwrap().unwrap();
        assert_eq!((text(&first), text(&second), first.redelivered), ("a".into(), "b".into(), false));
        queue.settle(&leaf(), &second.lock, Settlement::Complete).unwrap();
        assert!(queue.settle(&leaf(), &second.lock, Settlement::Complete).is_err());
        drop(queue);

        let (queue, _) = open(directory.path());
        assert_eq!(queue.count(&leaf()), 2);
        let again = queue.receive(&leaf()).unwrap().unwrap();
        assert_eq!((text(&again), again.redelivered), ("a".into(), true));
        assert_eq!(again.message.system.get(system::DELIVERY_COUNT), Some("2"));
        queue.settle(&leaf(), &again.lock, Settlement::Reject).unwrap();
        assert_eq!(text(&queue.receive(&leaf()).unwrap().unwrap()), "c");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_ends_and_after_ten_deliveries_a_message_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, clock) = open(directory.path());
        queue.enqueue(&leaf(), "1", Message::new("a")).unwrap();
        queue.enqueue(&leaf(), "1", Message::new("b")).unwrap();
        for _ in 0..MAX_DELIVERIES / 2 {
            let held = queue.receive(&leaf()).unwrap().unwrap();
            assert_eq!(text(&held), "a");
            queue.settle(&leaf(), &held.lock, Settlement::Abandon).unwrap();
            let held = queue.receive(&leaf()).unwrap().unwrap();
            assert_eq!(queue.next_unlock(&leaf()), Some(LOCK_TIME));
            clock.set_back(Duration::from_hours(3));
            clock.advance(LOCK_TIME);
            assert!(queue.settle(&leaf(), &held.lock, Settlement::Complete).is_err(), "the lock is lost");
        }
        assert_eq!(text(&queue.receive(&leaf()).unwrap().unwrap()), "b");
    }

    #[tokio::test(start_paused = true)]
    async fn the_limits_are_the_services() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, clock) = open(directory.path());
        let large = Message::new(vec![0; MAX_MESSAGE_BYTES + 1]);
        assert!(matches!(queue.enqueue(&leaf(), "1", large), Err(QueueError::TooLarge(_))));
        let mut wrong = Message::new("x");
        wrong.system.set(system::EXPIRY, "tomorrow".to_owned());
        assert!(matches!(queue.enqueue(&leaf(), "1", wrong), Err(QueueError::Expiry(_))));
        let mut short = Message::new("short");
        short.system.set(system::EXPIRY, text_of(clock.now_ms() + 5000));
        queue.enqueue(&leaf(), "1", short).unwrap();
        for _ in 1..MAX_MESSAGES {
            queue.enqueue(&leaf(), "1", Message::new("x")).unwrap();
        }
        assert!(matches!(queue.enqueue(&leaf(), "1", Message::new("x")), Err(QueueError::Full(_))));
        clock.advance(Duration::from_secs(5));
        assert_eq!(queue.count(&leaf()), MAX_MESSAGES - 1);
        queue.enqueue(&leaf(), "1", Message::new("x")).unwrap();
        clock.advance(Duration::from_millis(TIME_TO_LIVE_MS));
        assert!(queue.receive(&leaf()).unwrap().is_none());
        queue.enqueue(&leaf(), "1", Message::new("y")).unwrap();
        assert_eq!(queue.purge(&leaf()).unwrap(), 1);
    }
}
