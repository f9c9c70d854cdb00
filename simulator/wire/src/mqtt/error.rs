//! What is no packet.

/// Bytes that are not MQTT 3.1.1, after which a connection cannot go on, or a packet that has no such bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MqttError {
    /// The packet type is reserved, or its flags are not what the type demands.
    #[error("packet type and flags {0:#04x} are not allowed")]
    Header(u8),
    /// The remaining length has more than four bytes.
    #[error("the remaining length is not a number")]
    RemainingLength,
    /// The packet, or a text in it, is larger than the limit.
    #[error("a packet or text has {size} bytes, the most is {limit}")]
    TooLarge {
        /// Bytes announced.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The packet ends before its last field does, or goes on behind it.
    #[error("the packet has the wrong length for its fields")]
    Length,
    /// A text is not UTF-8, or holds U+0000.
    #[error("a text is not well-formed UTF-8")]
    Text,
    /// A packet identifier is zero.
    #[error("the packet identifier is zero")]
    PacketId,
    /// The protocol name is not `MQTT`.
    #[error("the protocol name is not MQTT")]
    ProtocolName,
    /// Flags of CONNECT contradict each other.
    #[error("the flags of CONNECT are not allowed")]
    ConnectFlags,
    /// Quality of service 3 does not exist.
    #[error("the quality of service is not 0, 1 or 2")]
    QualityOfService,
    /// A topic name is empty or has wildcards, or a topic filter is empty or has them in the wrong place.
    #[error("the topic is not allowed")]
    Topic,
    /// SUBSCRIBE and UNSUBSCRIBE need at least one filter.
    #[error("there is no topic filter")]
    NoFilter,
    /// A return code is not one of those that exist.
    #[error("the return code {0} does not exist")]
    ReturnCode(u8),
}
