//! SUBSCRIBE (3.8), SUBACK (3.9) and UNSUBSCRIBE (3.10).

use bytes::{BufMut as _, BytesMut};

use super::error::MqttError;
use super::packet::{PacketId, QualityOfService};
use super::reader::Reader;
use super::writer::{put_binary, put_header};

/// Topic filters that a client wants messages of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Named by SUBACK.
    pub id: PacketId,
    /// The filters, each with the best quality wanted.
    pub filters: Vec<(String, QualityOfService)>,
}

/// What a server grants, a filter each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The exchange.
    pub id: PacketId,
    /// The best quality; none where the filter is refused.
    pub granted: Vec<Option<QualityOfService>>,
}

/// Topic filters that a client wants no more messages of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Named by UNSUBACK.
    pub id: PacketId,
    /// The filters.
    pub filters: Vec<String>,
}

const REFUSED: u8 = 0x80;

impl Subscribe {
    pub(super) fn decode(mut reader: Reader) -> Result<Self, MqttError> {
        let id = reader.packet_id()?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            let filter = topic_filter(&mut reader)?;
            let quality = QualityOfService::from_bits(reader.byte()?).ok_or(MqttError::QualityOfService)?;
            filters.push((filter, quality));
        }
        if filters.is_empty() { Err(MqttError::NoFilter) } else { Ok(Self { id, filters }) }
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), MqttError> {
        put_header(buffer, 0x82, 2 + self.filters.iter().map(|(filter, _)| filter.len() + 3).sum::<usize>())?;
        buffer.put_u16(self.id.get());
        for (filter, quality) in &self.filters {
            put_binary(buffer, filter.as_bytes())?;
            buffer.put_u8(quality.bits());
        }
        Ok(())
    }
}

impl SubAck {
    pub(super) fn decode(mut reader: Reader) -> Result<Self, MqttError> {
        let id = reader.packet_id()?;
        let mut granted = Vec::new();
        while !reader.is_empty() {
            granted.push(match reader.byte()? {
                REFUSED => None,
                bits => Some(QualityOfService::from_bits(bits).ok_or(MqttError::ReturnCode(bits))?),
            });
        }
        Ok(Self { id, granted })
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), MqttError> {
        put_header(buffer, 0x90, 2 + self.granted.len())?;
        buffer.put_u16(self.id.get());
        for granted in &self.granted {
            buffer.put_u8(granted.map_or(REFUSED, QualityOfService::bits));
        }
        Ok(())
    }
}

impl Unsubscribe {
    pub(super) fn decode(mut reader: Reader) -> Result<Self, MqttError> {
        let id = reader.packet_id()?;
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(topic_filter(&mut reader)?);
        }
        if filters.is_empty() { Err(MqttError::NoFilter) } else { Ok(Self { id, filters }) }
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), MqttError> {
        put_header(buffer, 0xa2, 2 + self.filters.iter().map(|filter| filter.len() + 2).sum::<usize>())?;
        buffer.put_u16(self.id.get());
        for filter in &self.filters {
            put_binary(buffer, filter.as_bytes())?;
        }
        Ok(())
    }
}

/// A filter has `#` only as its whole last level, and `+` only as a whole level (4.7.1).
fn topic_filter(reader: &mut Reader) -> Result<String, MqttError> {
    let filter = reader.text()?;
    let mut levels = filter.split('/').peekable();
    let mut valid = !filter.is_empty();
    while let Some(level) = levels.next() {
        valid &= match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            level => !level.contains(['#', '+']),
        };
    }
    if valid { Ok(filter) } else { Err(MqttError::Topic) }
}
