//! ATTACH (2.7.3) and DETACH (2.7.7).

use bytes::BytesMut;

use super::composite::{Fields, List};
use super::condition::ErrorCondition;
use super::error::AmqpError;
use super::terminus::{Source, Target};
use super::value::{Map, Symbol, Value};

pub(super) const ATTACH: u8 = 0x12;
pub(super) const DETACH: u8 = 0x16;

/// Which end of a link a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It sends messages.
    Sender,
    /// It receives messages.
    Receiver,
}

impl Role {
    /// Takes the next field: true for the receiver.
    pub(super) fn field(fields: &mut Fields) -> Result<Self, AmqpError> {
        let receiver = fields.boolean("role")?.ok_or(AmqpError::Field("role"))?;
        Ok(if receiver { Self::Receiver } else { Self::Sender })
    }

    pub(super) fn is_receiver(self) -> bool {
        self == Self::Receiver
    }
}

/// How a sender settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SenderSettleMode {
    /// It sends everything unsettled.
    Unsettled,
    /// It sends everything settled.
    Settled,
    /// It says with each delivery.
    #[default]
    Mixed,
}

/// How a receiver settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiverSettleMode {
    /// At once.
    #[default]
    First,
    /// After the sender has.
    Second,
}

/// The beginning of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Attach {
    /// Its name, the same at both ends.
    pub name: String,
    /// Its number in the session.
    pub handle: u32,
    /// Which end speaks.
    pub role: Role,
    /// How the sender settles.
    pub sender_settle_mode: SenderSettleMode,
    /// How the receiver settles.
    pub receiver_settle_mode: ReceiverSettleMode,
    /// Where messages come from; none where the link is refused.
    pub source: Option<Source>,
    /// Where messages go; none where the link is refused.
    pub target: Option<Target>,
    /// Where the sender begins to count.
    pub initial_delivery_count: Option<u32>,
    /// The largest message; all if there is no number.
    pub max_message_size: Option<u64>,
    /// What is offered.
    pub offered_capabilities: Vec<Symbol>,
    /// What is wanted.
    pub desired_capabilities: Vec<Symbol>,
    /// What else is said.
    pub properties: Map,
}

/// The end of a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detach {
    /// Its number in the session.
    pub handle: u32,
    /// Whether it is over for good.
    pub closed: bool,
    /// Why, if not in order.
    pub error: Option<ErrorCondition>,
}

impl Attach {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        let name = fields.text("name")?.ok_or(AmqpError::Field("name"))?;
        let handle = fields.uint("handle")?.ok_or(AmqpError::Field("handle"))?;
        let role = Role::field(&mut fields)?;
        let sender_settle_mode = match fields.ubyte("snd-settle-mode")? {
            Some(0) => SenderSettleMode::Unsettled,
            Some(1) => SenderSettleMode::Settled,
            None | Some(2) => SenderSettleMode::Mixed,
            Some(_) => return Err(AmqpError::Field("snd-settle-mode")),
        };
        let receiver_settle_mode = match fields.ubyte("rcv-settle-mode")? {
            None | Some(0) => ReceiverSettleMode::First,
            Some(1) => ReceiverSettleMode::Second,
            Some(_) => return Err(AmqpError::Field("rcv-settle-mode")),
        };
        let source = Source::field(&mut fields)?;
        let target = Target::field(&mut fields)?;
        // Links are not resumed here.
        let (_unsettled, _incomplete_unsettled) = (fields.value(), fields.value());
        Ok(Self {
            name,
            handle,
            role,
            sender_settle_mode,
            receiver_settle_mode,
            source,
            target,
            initial_delivery_count: fields.uint("initial-delivery-count")?,
            max_message_size: fields.ulong("max-message-size")?,
            offered_capabilities: fields.symbols("offered-capabilities")?,
            desired_capabilities: fields.symbols("desired-capabilities")?,
            properties: fields.map("properties")?,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let sender_settle_mode = match self.sender_settle_mode {
            SenderSettleMode::Unsettled => 0,
            SenderSettleMode::Settled => 1,
            SenderSettleMode::Mixed => 2,
        };
        let receiver_settle_mode = u8::from(self.receiver_settle_mode == ReceiverSettleMode::Second);
        let mut list = List::begin(buffer, ATTACH);
        list.text(Some(&self.name)).uint(self.handle).boolean(self.role.is_receiver());
        list.ubyte(sender_settle_mode).ubyte(receiver_settle_mode);
        list.composite(self.source.as_ref(), Source::write).composite(self.target.as_ref(), Target::write);
        list.value(&Value::Null).boolean(None).uint(self.initial_delivery_count).ulong(self.max_message_size);
        list.symbols(&self.offered_capabilities).symbols(&self.desired_capabilities).map(&self.properties);
        list.end();
    }
}

impl Detach {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        Ok(Self {
            handle: fields.uint("handle")?.ok_or(AmqpError::Field("handle"))?,
            closed: fields.boolean("closed")?.unwrap_or_default(),
            error: ErrorCondition::field(&mut fields)?,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, DETACH);
        list.uint(self.handle).boolean(self.closed).composite(self.error.as_ref(), ErrorCondition::write);
        list.end();
    }
}
