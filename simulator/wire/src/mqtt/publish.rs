//! PUBLISH (3.3).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::error::MqttError;
use super::packet::{PacketId, QualityOfService};
use super::reader::Reader;
use super::writer::{put_binary, put_header};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where it goes.
    pub topic: String,
    /// What it says; shares the bytes it was read from.
    pub payload: Bytes,
    /// How it is sent.
    pub delivery: Delivery,
    /// Whether it stays with the topic.
    pub retain: bool,
}

/// How a message is sent; only what is acknowledged has an identifier and can be a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Quality 0.
    AtMostOnce,
    /// Quality 1.
    AtLeastOnce {
        /// Named by PUBACK.
        id: PacketId,
        /// Whether it may have been sent before.
        duplicate: bool,
    },
    /// Quality 2.
    ExactlyOnce {
        /// Named by PUBREC.
        id: PacketId,
        /// Whether it may have been sent before.
        duplicate: bool,
    },
}

impl Publish {
    pub(super) fn decode(flags: u8, mut reader: Reader) -> Result<Self, MqttError> {
        let quality = QualityOfService::from_bits((flags >> 1) & 0x03).ok_or(MqttError::QualityOfService)?;
        let duplicate = flags & 0x08 != 0;
        let topic = reader.text()?;
        if topic.is_empty() || topic.contains(['+', '#']) {
            return Err(MqttError::Topic);
        }
        let delivery = match quality {
            // A repetition of what is never repeated (3.3.1.1).
            QualityOfService::AtMostOnce if duplicate => return Err(MqttError::Header(0x30 | flags)),
            QualityOfService::AtMostOnce => Delivery::AtMostOnce,
            QualityOfService::AtLeastOnce => Delivery::AtLeastOnce { id: reader.packet_id()?, duplicate },
            QualityOfService::ExactlyOnce => Delivery::ExactlyOnce { id: reader.packet_id()?, duplicate },
        };
        Ok(Self { topic, delivery, retain: flags & 0x01 != 0, payload: reader.rest() })
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), MqttError> {
        let (bits, id, duplicate) = match self.delivery {
            Delivery::AtMostOnce => (0, None, false),
            Delivery::AtLeastOnce { id, duplicate } => (1, Some(id), duplicate),
            Delivery::ExactlyOnce { id, duplicate } => (2, Some(id), duplicate),
        };
        let first = 0x30 | (u8::from(duplicate) << 3) | (bits << 1) | u8::from(self.retain);
        let length = 2 + self.topic.len() + if id.is_some() { 2 } else { 0 } + self.payload.len();
        buffer.reserve(length + 5);
        put_header(buffer, first, length)?;
        put_binary(buffer, self.topic.as_bytes())?;
        if let Some(id) = id {
            buffer.put_u16(id.get());
        }
        buffer.put_slice(&self.payload);
        Ok(())
    }
}
