//! Packets from bytes and back.

use bytes::{Buf as _, BufMut as _, BytesMut};

use super::connect::{ConnAck, Connect};
use super::error::MqttError;
use super::packet::{Packet, PacketId};
use super::publish::Publish;
use super::reader::Reader;
use super::subscribe::{SubAck, Subscribe, Unsubscribe};
use super::writer::put_header;

/// Takes the next packet from the front of a buffer. None if it is not all there yet. A packet of more than `limit` bytes
/// is refused as soon as its length is known.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Option<Packet>, MqttError> {
    let Some((first, header, remaining)) = fixed_header(buffer)? else { return Ok(None) };
    let size = header + remaining;
    if size > limit {
        return Err(MqttError::TooLarge { size, limit });
    }
    if buffer.len() < size {
        buffer.reserve(size - buffer.len());
        return Ok(None);
    }
    buffer.advance(header);
    let reader = Reader::new(buffer.split_to(remaining).freeze());
    packet(first, reader).map(Some)
}

/// First byte, bytes of the fixed header, and the remaining length.
fn fixed_header(buffer: &[u8]) -> Result<Option<(u8, usize, usize)>, MqttError> {
    let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
    let mut remaining = 0;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((first, index + 2, remaining)));
        }
    }
    if rest.len() >= 4 { Err(MqttError::RemainingLength) } else { Ok(None) }
}

fn packet(first: u8, reader: Reader) -> Result<Packet, MqttError> {
    let only_id = |mut reader: Reader| -> Result<PacketId, MqttError> {
        let id = reader.packet_id()?;
        reader.finish()?;
        Ok(id)
    };
    let empty = |reader: Reader, packet| reader.finish().map(|()| packet);
    match first {
        0x10 => Ok(Packet::Connect(Box::new(Connect::decode(reader)?))),
        0x20 => Ok(Packet::ConnAck(ConnAck::decode(reader)?)),
        0x30..=0x3f => Ok(Packet::Publish(Publish::decode(first & 0x0f, reader)?)),
        0x40 => only_id(reader).map(Packet::PubAck),
        0x50 => only_id(reader).map(Packet::PubRec),
        0x62 => only_id(reader).map(Packet::PubRel),
        0x70 => only_id(reader).map(Packet::PubComp),
        0x82 => Ok(Packet::Subscribe(Subscribe::decode(reader)?)),
        0x90 => Ok(Packet::SubAck(SubAck::decode(reader)?)),
        0xa2 => Ok(Packet::Unsubscribe(Unsubscribe::decode(reader)?)),
        0xb0 => only_id(reader).map(Packet::UnsubAck),
        0xc0 => empty(reader, Packet::PingReq),
        0xd0 => empty(reader, Packet::PingResp),
        0xe0 => empty(reader, Packet::Disconnect),
        other => Err(MqttError::Header(other)),
    }
}

/// Appends a packet to a buffer. A packet that cannot be written leaves the buffer as it was.
pub fn encode(packet: &Packet, buffer: &mut BytesMut) -> Result<(), MqttError> {
    let start = buffer.len();
    let written = write(packet, buffer);
    if written.is_err() {
        buffer.truncate(start);
    }
    written
}

fn write(packet: &Packet, buffer: &mut BytesMut) -> Result<(), MqttError> {
    match packet {
        Packet::Connect(connect) => connect.encode(buffer),
        Packet::ConnAck(acknowledgement) => acknowledgement.encode(buffer),
        Packet::Publish(publish) => publish.encode(buffer),
        Packet::PubAck(id) => put_id(buffer, 0x40, *id),
        Packet::PubRec(id) => put_id(buffer, 0x50, *id),
        Packet::PubRel(id) => put_id(buffer, 0x62, *id),
        Packet::PubComp(id) => put_id(buffer, 0x70, *id),
        Packet::Subscribe(subscribe) => subscribe.encode(buffer),
        Packet::SubAck(acknowledgement) => acknowledgement.encode(buffer),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.encode(buffer),
        Packet::UnsubAck(id) => put_id(buffer, 0xb0, *id),
        Packet::PingReq => put_header(buffer, 0xc0, 0),
        Packet::PingResp => put_header(buffer, 0xd0, 0),
        Packet::Disconnect => put_header(buffer, 0xe0, 0),
    }
}

fn put_id(buffer: &mut BytesMut, first: u8, id: PacketId) -> Result<(), MqttError> {
    put_header(buffer, first, 2)?;
    buffer.put_u16(id.get());
    Ok(())
}
