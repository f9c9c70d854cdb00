//! The bytes of a log record.
//!
//! ```text
//! record     := length u32 · crc32 u32 · payload[length]          little endian, crc over the payload
//! payload    := 1 · message | 2 · checkpoint | 3 · beginning
//! message    := offset u64 · enqueued_ms u64 · targets u16 · target* · body · properties · properties
//! target     := queue · expires_ms u64
//! checkpoint := queue · done u64 · base u64 · left u64
//! beginning  := version u16 · count u32 · checkpoint*             the first record of each segment
//! queue      := endpoint text · priority u32
//! text, body := length u32 · bytes
//! properties := count u32 · (name text · 0 | name text · 1 · value text)*
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, BufMut as _, Bytes};
use edgectl_schemas::route::definition::Priority;

use crate::message::{Message, Properties};

/// Bytes before the payload of a record.
pub const HEADER_BYTES: usize = 8;
/// Longer records are taken for damage: a message is at most 256 KiB and goes to at most a few thousand queues.
const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;
/// The version of the format.
const VERSION: u16 = 1;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A message and the queues it stands in.
    Message(StoredMessage),
    /// How far a queue is done.
    Checkpoint(Checkpoint),
    /// How far all queues were done when a segment was begun.
    Beginning(Vec<Checkpoint>),
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the order of all messages; grows by one with each.
    pub offset: u64,
    /// When it was taken, milliseconds since the Unix epoch.
    pub enqueued_ms: u64,
    /// Where it goes.
    pub targets: Vec<Target>,
    /// The message.
    pub message: Arc<Message>,
}

/// Between endpoint and priority in the name of a queue.
const PRIORITY_DELIMITER: &str = "_Pri";

/// A message in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its offset.
    pub offset: u64,
    /// When it was taken, milliseconds since the Unix epoch.
    pub enqueued_ms: u64,
    /// When it is no longer wanted, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// The message itself.
    pub message: Arc<Message>,
}

/// An endpoint has a queue for each priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The endpoint: `iothub`, or `D/{module}/{input}`.
    pub endpoint: Arc<str>,
    /// 0 is the most urgent.
    pub priority: u32,
}

impl QueueKey {
    /// The name of a queue, as the real hub's store has it, split. What has no number behind the last delimiter is the
    /// endpoint's queue of the default priority.
    pub fn parse(name: &str) -> Self {
        let split = name.rsplit_once(PRIORITY_DELIMITER);
        let found = split.and_then(|(endpoint, number)| Some((endpoint, number.trim().parse().ok()?)));
        let (endpoint, priority) = found.unwrap_or((name, Priority::DEFAULT.number()));
        Self { endpoint: endpoint.into(), priority }
    }
}

impl fmt::Display for QueueKey {
    /// The name that the real hub's store has for the queue: the endpoint, and the priority unless it is the default.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.endpoint)?;
        if self.priority == Priority::DEFAULT.number() {
            return Ok(());
        }
        write!(formatter, "{PRIORITY_DELIMITER}{}", self.priority)
    }
}

/// A queue that a message stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueKey,
    /// When the message is no longer wanted there, milliseconds since the Unix epoch; [`u64::MAX`] for never.
    pub expires_ms: u64,
}

/// How far a queue is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The queue.
    pub queue: QueueKey,
    /// All messages below this offset are done.
    pub done: u64,
    /// The segment with the first message that is not; the newest if all are.
    pub base: u64,
    /// How many messages of that segment are not.
    pub left: u64,
}

/// The result of reading at a place of a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A whole record, and the bytes it takes.
    Record(Record, usize),
    /// The bytes end before the record does: the write was torn, or there is no more.
    Torn,
    /// The bytes are there but are no record.
    Damaged,
}

impl Record {
    /// Appends the record to a buffer.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Message(stored) => {
                encode_message(buffer, stored.offset, stored.enqueued_ms, &stored.targets, &stored.message);
            }
            Self::Checkpoint(checkpoint) => framed(buffer, |buffer| {
                buffer.put_u8(2);
                put_checkpoint(buffer, checkpoint);
            }),
            Self::Beginning(checkpoints) => framed(buffer, |buffer| {
                buffer.put_u8(3);
                buffer.put_u16_le(VERSION);
                buffer.put_u32_le(checkpoints.len() as u32);
                for checkpoint in checkpoints {
                    put_checkpoint(buffer, checkpoint);
                }
            }),
        }
    }

    /// Reads the record that `bytes` starts with.
    pub fn decode(bytes: &[u8]) -> Read {
        let (payload, length) = match frame(bytes) {
            Ok(found) => found,
            Err(nothing) => return nothing,
        };
        match decode_payload(payload) {
            Some(record) => Read::Record(record, length),
            None => Read::Damaged,
        }
    }
}

/// The bytes that the record takes which `bytes` starts with; none if not even its header is there.
pub fn record_length(bytes: &[u8]) -> Option<usize> {
    let mut header = bytes.get(..HEADER_BYTES)?;
    Some(HEADER_BYTES + (header.get_u32_le() as usize).min(MAX_PAYLOAD_BYTES))
}

/// Appends a message's record to a buffer.
pub fn encode_message(buffer: &mut Vec<u8>, offset: u64, enqueued_ms: u64, targets: &[Target], message: &Message) {
    framed(buffer, |buffer| {
        buffer.put_u8(1);
        buffer.put_u64_le(offset);
        buffer.put_u64_le(enqueued_ms);
        buffer.put_u16_le(targets.len() as u16);
        for target in targets {
            put_queue(buffer, &target.queue);
            buffer.put_u64_le(target.expires_ms);
        }
        put_bytes(buffer, &message.body);
        put_properties(buffer, &message.properties);
        put_properties(buffer, &message.system);
    });
}

/// What a queue wants of the record that `bytes` starts with.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A message of the queue.
    Message(Entry),
    /// Nothing.
    Nothing,
}

/// Reads the record that `bytes` starts with for one queue, and tells the bytes it takes. What other queues have there is
/// not looked at. The error is [`Read::Torn`] or [`Read::Damaged`].
pub fn decode_for(queue: &QueueKey, from: u64, bytes: &[u8]) -> Result<(Wanted, usize), Read> {
    let (mut payload, length) = frame(bytes)?;
    let wanted = (|| {
        if payload.try_get_u8().ok()? != 1 {
            return Some(Wanted::Nothing);
        }
        let offset = payload.try_get_u64_le().ok()?;
        let enqueued_ms = payload.try_get_u64_le().ok()?;
        let mut expires = None;
        for _ in 0..payload.try_get_u16_le().ok()? {
            let endpoint = take_bytes(&mut payload)?;
            let priority = payload.try_get_u32_le().ok()?;
            let expires_ms = payload.try_get_u64_le().ok()?;
            if endpoint == queue.endpoint.as_bytes() && priority == queue.priority {
                expires = Some(expires_ms);
            }
        }
        match expires.filter(|_| offset >= from) {
            Some(expires_ms) => {
                let message = Arc::new(take_message(&mut payload)?);
                Some(Wanted::Message(Entry { offset, enqueued_ms, expires_ms, message }))
            }
            None => Some(Wanted::Nothing),
        }
    })();
    wanted.map(|wanted| (wanted, length)).ok_or(Read::Damaged)
}

/// The payload of the record that `bytes` starts with, and the bytes that the record takes.
fn frame(bytes: &[u8]) -> Result<(&[u8], usize), Read> {
    let (mut header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Read::Torn)?;
    let (length, crc) = (header.get_u32_le() as usize, header.get_u32_le());
    if length == 0 || length > MAX_PAYLOAD_BYTES {
        return Err(Read::Damaged);
    }
    let payload = rest.get(..length).ok_or(Read::Torn)?;
    if crc32fast::hash(payload) == crc { Ok((payload, HEADER_BYTES + length)) } else { Err(Read::Damaged) }
}

fn framed(buffer: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.put_bytes(0, HEADER_BYTES);
    put(buffer);
    let payload = &buffer[start + HEADER_BYTES..];
    let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn put_checkpoint(buffer: &mut Vec<u8>, checkpoint: &Checkpoint) {
    put_queue(buffer, &checkpoint.queue);
    buffer.put_u64_le(checkpoint.done);
    buffer.put_u64_le(checkpoint.base);
    buffer.put_u64_le(checkpoint.left);
}

/// Appends the name of a queue.
pub fn put_queue(buffer: &mut Vec<u8>, queue: &QueueKey) {
    put_bytes(buffer, queue.endpoint.as_bytes());
    buffer.put_u32_le(queue.priority);
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.put_u32_le(bytes.len() as u32);
    buffer.put_slice(bytes);
}

fn put_properties(buffer: &mut Vec<u8>, properties: &Properties) {
    buffer.put_u32_le(properties.len() as u32);
    for (name, value) in properties.iter() {
        put_bytes(buffer, name.as_bytes());
        buffer.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            put_bytes(buffer, value.as_bytes());
        }
    }
}

fn decode_payload(mut payload: &[u8]) -> Option<Record> {
    let bytes = &mut payload;
    let record = match bytes.try_get_u8().ok()? {
        1 => Record::Message(take_stored(bytes)?),
        2 => Record::Checkpoint(take_checkpoint(bytes)?),
        3 => {
            (bytes.try_get_u16_le().ok()? == VERSION).then_some(())?;
            let count = bytes.try_get_u32_le().ok()?;
            Record::Beginning((0..count).map(|_| take_checkpoint(bytes)).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    bytes.is_empty().then_some(record)
}

fn take_stored(bytes: &mut &[u8]) -> Option<StoredMessage> {
    let offset = bytes.try_get_u64_le().ok()?;
    let enqueued_ms = bytes.try_get_u64_le().ok()?;
    let count = bytes.try_get_u16_le().ok()?;
    let targets = (0..count)
        .map(|_| Some(Target { queue: take_queue(bytes)?, expires_ms: bytes.try_get_u64_le().ok()? }))
        .collect::<Option<_>>()?;
    Some(StoredMessage { offset, enqueued_ms, targets, message: Arc::new(take_message(bytes)?) })
}

fn take_message(bytes: &mut &[u8]) -> Option<Message> {
    let body = Bytes::copy_from_slice(take_bytes(bytes)?);
    let properties = take_properties(bytes)?;
    let system = take_properties(bytes)?;
    Some(Message { body, properties, system })
}

fn take_checkpoint(bytes: &mut &[u8]) -> Option<Checkpoint> {
    Some(Checkpoint {
        queue: take_queue(bytes)?,
        done: bytes.try_get_u64_le().ok()?,
        base: bytes.try_get_u64_le().ok()?,
        left: bytes.try_get_u64_le().ok()?,
    })
}

/// Takes the name of a queue.
pub fn take_queue(bytes: &mut &[u8]) -> Option<QueueKey> {
    Some(QueueKey { endpoint: take_text(bytes)?.into(), priority: bytes.try_get_u32_le().ok()? })
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(bytes)?).ok()
}

fn take_properties(bytes: &mut &[u8]) -> Option<Properties> {
    let count = bytes.try_get_u32_le().ok()?;
    let mut properties = Properties::new();
    if count > 0 {
        // What was written can be no more than what is left.
        properties.reserve((count as usize).min(bytes.len()), bytes.len().min(512));
    }
    for _ in 0..count {
        let name = take_text(bytes)?;
        let value = if bytes.try_get_u8().ok()? == 1 { Some(take_text(bytes)?) } else { None };
        properties.add(name, value);
    }
    Some(properties)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn properties() -> impl Strategy<Value = Properties> {
        proptest::collection::btree_map(".{0,8}", proptest::option::of(".{0,8}"), 0..4).prop_map(|items| {
            let mut properties = Properties::new();
            for (name, value) in items {
                properties.set(name, value);
            }
            properties
        })
    }

    prop_compose! {
        fn stored()(
            offset: u64, enqueued_ms: u64,
            targets in proptest::collection::vec((".{0,12}", any::<u32>(), any::<u64>()), 0..4),
            body in proptest::collection::vec(any::<u8>(), 0..64),
            application in properties(), system in properties(),
        ) -> StoredMessage {
            let targets = targets
                .into_iter()
                .map(|(endpoint, priority, expires_ms)| Target { queue: QueueKey { endpoint: endpoint.into(), priority }, expires_ms })
                .collect();
            let message = Message { body: body.into(), properties: application, system };
            StoredMessage { offset, enqueued_ms, targets, message: Arc::new(message) }
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(stored in stored()) {
            let record = Record::Message(stored);
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let length = bytes.len();
            prop_assert_eq!(Record::decode(&bytes), Read::Record(record, length));
        }

        #[test]
        fn a_queue_reads_what_is_its_own(stored in stored(), from: u64) {
            let mut bytes = Vec::new();
            Record::Message(stored.clone()).encode(&mut bytes);
            for target in &stored.targets {
                let last = stored.targets.iter().rev().find(|other| other.queue == target.queue).unwrap();
                let wanted = if stored.offset >= from {
                    Wanted::Message(Entry {
                        offset: stored.offset,
                        enqueued_ms: stored.enqueued_ms,
                        expires_ms: last.expires_ms,
                        message: Arc::clone(&stored.message),
                    })
                } else {
                    Wanted::Nothing
                };
                prop_assert_eq!(decode_for(&target.queue, from, &bytes), Ok((wanted, bytes.len())));
            }
            let other = QueueKey { endpoint: "somewhere else".into(), priority: 1 };
            prop_assert_eq!(decode_for(&other, 0, &bytes), Ok((Wanted::Nothing, bytes.len())));
        }

        #[test]
        fn a_torn_record_is_seen(stored in stored(), keep in 0.0..1.0f64) {
            let mut bytes = Vec::new();
            Record::Message(stored).encode(&mut bytes);
            #[expect(clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small length")]
            let kept = (bytes.len() as f64 * keep) as usize;
            prop_assert_eq!(Record::decode(&bytes[..kept]), Read::Torn);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Record::decode(&bytes);
        }
    }

    #[test]
    fn a_flipped_bit_is_damage() {
        let mut bytes = Vec::new();
        let queue = QueueKey { endpoint: "iothub".into(), priority: 0 };
        Record::Checkpoint(Checkpoint { queue, done: 7, base: 0, left: 1 }).encode(&mut bytes);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(Record::decode(&bytes), Read::Damaged);
    }
}
