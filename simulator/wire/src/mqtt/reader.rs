//! Taking fields from the bytes of one packet.

use std::num::NonZeroU16;

use bytes::{Buf as _, Bytes};

use super::error::MqttError;
use super::packet::PacketId;

/// The bytes of a packet behind its fixed header.
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Reads from these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, MqttError> {
        self.bytes.try_get_u8().map_err(|_| MqttError::Length)
    }

    /// The next number of two bytes.
    pub fn number(&mut self) -> Result<u16, MqttError> {
        self.bytes.try_get_u16().map_err(|_| MqttError::Length)
    }

    /// The next packet identifier.
    pub fn packet_id(&mut self) -> Result<PacketId, MqttError> {
        NonZeroU16::new(self.number()?).ok_or(MqttError::PacketId)
    }

    /// The next bytes with their length before them.
    pub fn binary(&mut self) -> Result<Bytes, MqttError> {
        let length = usize::from(self.number()?);
        if length > self.bytes.len() {
            return Err(MqttError::Length);
        }
        Ok(self.bytes.split_to(length))
    }

    /// The next text (1.5.3): UTF-8 without U+0000.
    pub fn text(&mut self) -> Result<String, MqttError> {
        let text = String::from_utf8(self.binary()?.into()).map_err(|_| MqttError::Text)?;
        if text.contains('\0') { Err(MqttError::Text) } else { Ok(text) }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.bytes
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), MqttError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(MqttError::Length) }
    }
}
