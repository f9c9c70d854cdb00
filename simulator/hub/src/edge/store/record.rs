//! The bytes of a log record.
//!
//! ```text
//! record   := length u32 · crc32 u32 · payload[length]          little endian, crc over the payload
//! payload  := 1 · message | 2 · checkpoint
//! message  := offset u64 · enqueued_ms u64 · targets u16 · target* · body · properties · properties
//! target   := endpoint text · priority u32 · expires_ms u64
//! checkpoint := endpoint text · priority u32 · offset u64
//! text, body := length u32 · bytes
//! properties := count u32 · (name text · 0 | name text · 1 · value text)*
//! ```

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};

use crate::message::{Message, Properties};

/// Bytes before the payload of a record.
pub const HEADER_BYTES: usize = 8;
/// Longer records are taken for damage: a message is at most 256 KiB and goes to at most a few thousand queues.
const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A message and the queues it stands in.
    Message(StoredMessage),
    /// All messages of a queue up to this offset are done.
    Checkpoint {
        /// The queue.
        queue: QueueKey,
        /// The last offset that is done.
        offset: u64,
    },
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the log; grows by one with each message.
    pub offset: u64,
    /// When it was taken, milliseconds since the Unix epoch.
    pub enqueued_ms: u64,
    /// Where it goes.
    pub targets: Vec<Target>,
    /// The message.
    pub message: Arc<Message>,
}

impl StoredMessage {
    /// When the message is no longer wanted in a queue, milliseconds since the Unix epoch.
    pub fn expires_ms(&self, queue: &QueueKey) -> u64 {
        self.targets.iter().find(|target| target.queue == *queue).map_or(u64::MAX, |target| target.expires_ms)
    }
}

/// An endpoint has a queue for each priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The endpoint: `iothub`, or `D/{module}/{input}`.
    pub endpoint: String,
    /// 0 is the most urgent.
    pub priority: u32,
}

/// A queue that a message stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: QueueKey,
    /// When the message is no longer wanted there, milliseconds since the Unix epoch; [`u64::MAX`] for never.
    pub expires_ms: u64,
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
        let start = buffer.len();
        buffer.put_bytes(0, HEADER_BYTES);
        match self {
            Self::Message(stored) => encode_message(buffer, stored),
            Self::Checkpoint { queue, offset } => {
                buffer.put_u8(2);
                put_queue(buffer, queue);
                buffer.put_u64_le(*offset);
            }
        }
        let payload = &buffer[start + HEADER_BYTES..];
        let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
        buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        buffer[start + 4..start + HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the record that `bytes` starts with.
    pub fn decode(bytes: &[u8]) -> Read {
        let Some((mut header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Read::Torn };
        let (length, crc) = (header.get_u32_le() as usize, header.get_u32_le());
        if length == 0 || length > MAX_PAYLOAD_BYTES {
            return Read::Damaged;
        }
        let Some(payload) = rest.get(..length) else { return Read::Torn };
        if crc32fast::hash(payload) != crc {
            return Read::Damaged;
        }
        match decode_payload(Bytes::copy_from_slice(payload)) {
            Some(record) => Read::Record(record, HEADER_BYTES + length),
            None => Read::Damaged,
        }
    }
}

fn encode_message(buffer: &mut Vec<u8>, stored: &StoredMessage) {
    buffer.put_u8(1);
    buffer.put_u64_le(stored.offset);
    buffer.put_u64_le(stored.enqueued_ms);
    buffer.put_u16_le(stored.targets.len() as u16);
    for target in &stored.targets {
        put_queue(buffer, &target.queue);
        buffer.put_u64_le(target.expires_ms);
    }
    put_bytes(buffer, &stored.message.body);
    put_properties(buffer, &stored.message.properties);
    put_properties(buffer, &stored.message.system);
}

fn put_queue(buffer: &mut Vec<u8>, queue: &QueueKey) {
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

fn decode_payload(mut bytes: Bytes) -> Option<Record> {
    let record = match bytes.try_get_u8().ok()? {
        1 => Record::Message(take_message(&mut bytes)?),
        2 => Record::Checkpoint { queue: take_queue(&mut bytes)?, offset: bytes.try_get_u64_le().ok()? },
        _ => return None,
    };
    bytes.is_empty().then_some(record)
}

fn take_message(bytes: &mut Bytes) -> Option<StoredMessage> {
    let offset = bytes.try_get_u64_le().ok()?;
    let enqueued_ms = bytes.try_get_u64_le().ok()?;
    let count = bytes.try_get_u16_le().ok()?;
    let targets = (0..count)
        .map(|_| Some(Target { queue: take_queue(bytes)?, expires_ms: bytes.try_get_u64_le().ok()? }))
        .collect::<Option<_>>()?;
    let body = take_bytes(bytes)?;
    let properties = take_properties(bytes)?;
    let system = take_properties(bytes)?;
    Some(StoredMessage { offset, enqueued_ms, targets, message: Arc::new(Message { body, properties, system }) })
}

fn take_queue(bytes: &mut Bytes) -> Option<QueueKey> {
    Some(QueueKey { endpoint: take_text(bytes)?, priority: bytes.try_get_u32_le().ok()? })
}

fn take_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(take_bytes(bytes)?.into()).ok()
}

fn take_properties(bytes: &mut Bytes) -> Option<Properties> {
    let count = bytes.try_get_u32_le().ok()?;
    let mut properties = Properties::new();
    for _ in 0..count {
        let name = take_text(bytes)?;
        let value = if bytes.try_get_u8().ok()? == 1 { Some(take_text(bytes)?) } else { None };
        properties.set(name, value);
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
                .map(|(endpoint, priority, expires_ms)| Target { queue: QueueKey { endpoint, priority }, expires_ms })
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
        Record::Checkpoint { queue: QueueKey { endpoint: "iothub".into(), priority: 0 }, offset: 7 }.encode(&mut bytes);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(Record::decode(&bytes), Read::Damaged);
    }
}
