//! Frames (2.3) and protocol headers (2.2) from bytes and back.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::error::AmqpError;
use super::performative::Performative;
use super::reader::Reader;
use super::sasl::SaslFrame;
use super::writer::set_size;

/// No peer may demand smaller frames than these (2.7.1).
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

const HEADER_BYTES: usize = 8;
const AMQP: u8 = 0;
const SASL: u8 = 1;

/// What a connection begins with, and begins anew with behind the security layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// `AMQP 0 1 0 0`.
    Amqp,
    /// `AMQP 3 1 0 0`: the security layer.
    Sasl,
}

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A performative; a message's bytes are behind that of a transfer.
    Amqp {
        /// The session.
        channel: u16,
        /// What it says.
        performative: Performative,
        /// What follows it.
        payload: Bytes,
    },
    /// Nothing: a sign that the peer is there.
    Empty,
    /// Of the security layer.
    Sasl(SaslFrame),
}

impl Frame {
    /// A performative without anything behind it.
    pub fn of(channel: u16, performative: Performative) -> Self {
        Self::Amqp { channel, performative, payload: Bytes::new() }
    }
}

impl ProtocolHeader {
    /// Its bytes.
    pub fn bytes(self) -> &'static [u8; 8] {
        match self {
            Self::Amqp => b"AMQP\x00\x01\x00\x00",
            Self::Sasl => b"AMQP\x03\x01\x00\x00",
        }
    }

    /// Takes a header from the front of a buffer. None if it is not all there yet.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, AmqpError> {
        let known = [Self::Amqp, Self::Sasl];
        let seen = &buffer[..buffer.len().min(HEADER_BYTES)];
        let Some(header) = known.into_iter().find(|header| header.bytes().starts_with(seen)) else {
            return Err(AmqpError::ProtocolHeader);
        };
        if seen.len() < HEADER_BYTES {
            return Ok(None);
        }
        buffer.advance(HEADER_BYTES);
        Ok(Some(header))
    }
}

/// Takes the next frame from the front of a buffer. None if it is not all there yet. A frame of more than `limit` bytes is
/// refused as soon as its size is known.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, AmqpError> {
    let Some(&[a, b, c, d]) = buffer.first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if size > limit {
        return Err(AmqpError::TooLarge { size, limit });
    }
    if size < HEADER_BYTES {
        return Err(AmqpError::FrameHeader);
    }
    if buffer.len() < size {
        buffer.reserve(size - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(size).freeze();
    let (offset, kind) = (usize::from(frame[4]) * 4, frame[5]);
    let channel = u16::from_be_bytes([frame[6], frame[7]]);
    if offset < HEADER_BYTES || offset > size {
        return Err(AmqpError::FrameHeader);
    }
    // What may stand before the body has no meaning in this version.
    frame.advance(offset);
    body(kind, channel, frame).map(Some)
}

fn body(kind: u8, channel: u16, body: Bytes) -> Result<Frame, AmqpError> {
    let mut reader = Reader::new(body);
    match kind {
        AMQP if reader.is_empty() => Ok(Frame::Empty),
        AMQP => {
            let performative = Performative::read(&mut reader)?;
            Ok(Frame::Amqp { channel, performative, payload: reader.rest() })
        }
        SASL => {
            let frame = SaslFrame::read(&mut reader)?;
            if reader.is_empty() { Ok(Frame::Sasl(frame)) } else { Err(AmqpError::Length) }
        }
        _ => Err(AmqpError::FrameHeader),
    }
}

/// Appends a frame to a buffer.
pub fn encode(frame: &Frame, buffer: &mut BytesMut) {
    match frame {
        Frame::Amqp { channel, performative, payload } => {
            let start = begin(buffer, AMQP, *channel);
            performative.write(buffer);
            buffer.put_slice(payload);
            end(buffer, start);
        }
        Frame::Empty => {
            let start = begin(buffer, AMQP, 0);
            end(buffer, start);
        }
        Frame::Sasl(frame) => {
            let start = begin(buffer, SASL, 0);
            frame.write(buffer);
            end(buffer, start);
        }
    }
}

fn begin(buffer: &mut BytesMut, kind: u8, channel: u16) -> usize {
    let start = buffer.len();
    buffer.put_u32(0);
    buffer.put_slice(&[2, kind]);
    buffer.put_u16(channel);
    start
}

fn end(buffer: &mut BytesMut, start: usize) {
    let size = buffer.len() - start;
    set_size(buffer, start, size);
}
