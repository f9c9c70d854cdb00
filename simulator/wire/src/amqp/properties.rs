//! The properties of a message (3.2.4).

use bytes::{Bytes, BytesMut};

use super::composite::{Fields, List};
use super::error::AmqpError;
use super::value::{Symbol, Value};

pub(super) const PROPERTIES: u8 = 0x73;

/// What a message says of itself to everyone on its way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Properties {
    /// Which message it is.
    pub message_id: Option<MessageId>,
    /// Who made it.
    pub user_id: Option<Bytes>,
    /// Where it goes.
    pub to: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// Where an answer goes.
    pub reply_to: Option<String>,
    /// Which message it belongs to.
    pub correlation_id: Option<MessageId>,
    /// What the body is.
    pub content_type: Option<Symbol>,
    /// How the body is encoded.
    pub content_encoding: Option<Symbol>,
    /// Milliseconds since the Unix epoch until which it is worth something.
    pub absolute_expiry_time: Option<i64>,
    /// Milliseconds since the Unix epoch at which it was made.
    pub creation_time: Option<i64>,
    /// The group that it is in.
    pub group_id: Option<String>,
    /// Its place in the group.
    pub group_sequence: Option<u32>,
    /// The group that an answer is in.
    pub reply_to_group_id: Option<String>,
}

/// Names a message. An answer has it in the type in which the question had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageId {
    /// A number.
    Ulong(u64),
    /// A UUID.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Bytes),
    /// Text.
    String(String),
}

impl MessageId {
    fn field(fields: &mut Fields, name: &'static str) -> Result<Option<Self>, AmqpError> {
        match fields.value() {
            Value::Null => Ok(None),
            Value::Ulong(number) => Ok(Some(Self::Ulong(number))),
            Value::Uuid(bytes) => Ok(Some(Self::Uuid(bytes))),
            Value::Binary(bytes) => Ok(Some(Self::Binary(bytes))),
            Value::String(text) => Ok(Some(Self::String(text))),
            _ => Err(AmqpError::Field(name)),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Ulong(number) => Value::Ulong(*number),
            Self::Uuid(bytes) => Value::Uuid(*bytes),
            Self::Binary(bytes) => Value::Binary(bytes.clone()),
            Self::String(text) => Value::String(text.clone()),
        }
    }
}

impl Properties {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        let message_id = MessageId::field(&mut fields, "message-id")?;
        let user_id = fields.binary("user-id")?;
        let to = fields.text("to")?;
        let subject = fields.text("subject")?;
        let reply_to = fields.text("reply-to")?;
        let correlation_id = MessageId::field(&mut fields, "correlation-id")?;
        Ok(Self {
            message_id,
            user_id,
            to,
            subject,
            reply_to,
            correlation_id,
            content_type: fields.symbol("content-type")?,
            content_encoding: fields.symbol("content-encoding")?,
            absolute_expiry_time: fields.timestamp("absolute-expiry-time")?,
            creation_time: fields.timestamp("creation-time")?,
            group_id: fields.text("group-id")?,
            group_sequence: fields.uint("group-sequence")?,
            reply_to_group_id: fields.text("reply-to-group-id")?,
        })
    }

    /// Appends the section; nothing if there is nothing to say, for an empty one breaks a client.
    pub(super) fn write(&self, buffer: &mut BytesMut) {
        if *self == Self::default() {
            return;
        }
        let id = |id: &Option<MessageId>| id.as_ref().map_or(Value::Null, MessageId::value);
        let mut list = List::begin(buffer, PROPERTIES);
        list.value(&id(&self.message_id)).binary(self.user_id.as_deref()).text(self.to.as_deref());
        list.text(self.subject.as_deref()).text(self.reply_to.as_deref()).value(&id(&self.correlation_id));
        list.symbol(self.content_type.as_ref()).symbol(self.content_encoding.as_ref());
        list.timestamp(self.absolute_expiry_time).timestamp(self.creation_time);
        list.text(self.group_id.as_deref()).uint(self.group_sequence).text(self.reply_to_group_id.as_deref());
        list.end();
    }
}
