//! The packets.

use super::connect::{ConnAck, Connect};
use super::publish::Publish;
use super::subscribe::{SubAck, Subscribe, Unsubscribe};

/// A control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Client to server: the first packet of a connection.
    Connect(Box<Connect>),
    /// Server to client: the answer to it.
    ConnAck(ConnAck),
    /// A message, in either direction.
    Publish(Publish),
    /// A message of quality 1 was taken.
    PubAck(PacketId),
    /// A message of quality 2 was received.
    PubRec(PacketId),
    /// A message of quality 2 may be forgotten.
    PubRel(PacketId),
    /// A message of quality 2 is done.
    PubComp(PacketId),
    /// Client to server.
    Subscribe(Subscribe),
    /// Server to client.
    SubAck(SubAck),
    /// Client to server.
    Unsubscribe(Unsubscribe),
    /// Server to client.
    UnsubAck(PacketId),
    /// Client to server.
    PingReq,
    /// Server to client.
    PingResp,
    /// Client to server: the last packet of an orderly connection.
    Disconnect,
}

/// Names an exchange until it is done; never zero.
pub type PacketId = std::num::NonZeroU16;

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityOfService {
    /// Sent once, perhaps lost.
    AtMostOnce,
    /// Sent until acknowledged, perhaps more than once.
    AtLeastOnce,
    /// Sent in two steps.
    ExactlyOnce,
}

impl QualityOfService {
    /// The quality of that number.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Its number.
    pub fn bits(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
}
