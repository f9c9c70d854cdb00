//! Putting fields behind each other.

use bytes::{BufMut as _, BytesMut};

/// Appends a text or bytes with their length before them. What is longer than 65,535 bytes is cut, which no caller sends:
/// topics and identifiers are checked where they enter.
pub fn put_binary(buffer: &mut BytesMut, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    buffer.put_u16(length);
    buffer.put_slice(&bytes[..usize::from(length)]);
}

/// Appends the fixed header (2.2).
pub fn put_header(buffer: &mut BytesMut, first: u8, mut remaining: usize) {
    buffer.put_u8(first);
    loop {
        let byte = (remaining % 128) as u8;
        remaining /= 128;
        if remaining == 0 {
            buffer.put_u8(byte);
            return;
        }
        buffer.put_u8(byte | 0x80);
    }
}
