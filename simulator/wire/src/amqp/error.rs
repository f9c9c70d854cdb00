//! What is no AMQP.

/// Bytes that are not AMQP 1.0, after which a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmqpError {
    /// The first eight bytes are no protocol header (2.2).
    #[error("the protocol header is not AMQP's")]
    ProtocolHeader,
    /// The header of a frame contradicts itself, or its type is not known.
    #[error("the header of a frame is not allowed")]
    FrameHeader,
    /// The frame is larger than the limit.
    #[error("a frame has {size} bytes, the most is {limit}")]
    TooLarge {
        /// Bytes announced.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A value ends after its bytes do, or before them.
    #[error("a value has the wrong length for its type")]
    Length,
    /// The type of a value is not one of the standard's (1.6).
    #[error("the type {0:#04x} does not exist")]
    TypeCode(u8),
    /// Values stand in each other more deeply than the limit.
    #[error("values are nested too deeply")]
    Depth,
    /// One value holds more others than the limit.
    #[error("a value holds too many others")]
    Count,
    /// A text is not UTF-8, a symbol not ASCII, or a character none of Unicode's.
    #[error("a text is not well-formed")]
    Text,
    /// The elements of an array differ in their type.
    #[error("the elements of an array differ in their type")]
    Array,
    /// The descriptor is not one that may stand here.
    #[error("the descriptor is not one that may stand here")]
    Descriptor,
    /// A field has a value that its type forbids, or has none and must.
    #[error("the field {0} is missing or wrong")]
    Field(&'static str),
    /// The sections of a message are in the wrong order, or a kind of them that can be there once is there again.
    #[error("the sections of a message are not in order")]
    Sections,
}
