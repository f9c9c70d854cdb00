//! Putting fields behind each other.

use bytes::{BufMut as _, BytesMut};

use super::error::MqttError;

/// The largest remaining length (2.2.3).
const MAX_REMAINING: usize = 268_435_455;

/// Appends a text or bytes with their length before them.
pub fn put_binary(buffer: &mut BytesMut, bytes: &[u8]) -> Result<(), MqttError> {
    let limit = usize::from(u16::MAX);
    let length = u16::try_from(bytes.len()).map_err(|_| MqttError::TooLarge { size: bytes.len(), limit })?;
    buffer.put_u16(length);
    buffer.put_slice(bytes);
    Ok(())
}

/// Appends the fixed header (2.2).
pub fn put_header(buffer: &mut BytesMut, first: u8, mut remaining: usize) -> Result<(), MqttError> {
    if remaining > MAX_REMAINING {
        return Err(MqttError::TooLarge { size: remaining, limit: MAX_REMAINING });
    }
    buffer.put_u8(first);
    loop {
        let byte = (remaining % 128) as u8;
        remaining /= 128;
        if remaining == 0 {
            buffer.put_u8(byte);
            return Ok(());
        }
        buffer.put_u8(byte | 0x80);
    }
}
