//! BEGIN (2.7.2), FLOW (2.7.4) and END (2.7.8).

use bytes::BytesMut;

use super::composite::{Fields, List};
use super::condition::ErrorCondition;
use super::error::AmqpError;
use super::value::{Map, Symbol};

pub(super) const BEGIN: u8 = 0x11;
pub(super) const FLOW: u8 = 0x13;
pub(super) const END: u8 = 0x17;

/// The beginning of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// The channel of the session that this one answers.
    pub remote_channel: Option<u16>,
    /// The number of the next transfer.
    pub next_outgoing_id: u32,
    /// Transfers that can be taken.
    pub incoming_window: u32,
    /// Transfers that can be sent.
    pub outgoing_window: u32,
    /// The highest handle that is taken; all if there is no number.
    pub handle_max: Option<u32>,
    /// What is offered.
    pub offered_capabilities: Vec<Symbol>,
    /// What is wanted.
    pub desired_capabilities: Vec<Symbol>,
    /// What else is said.
    pub properties: Map,
}

/// How much may be sent: in the session, and on a link if there is a handle.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Flow {
    /// The number of the next transfer expected; none before the peer has begun.
    pub next_incoming_id: Option<u32>,
    /// Transfers that can be taken.
    pub incoming_window: u32,
    /// The number of the next transfer.
    pub next_outgoing_id: u32,
    /// Transfers that can be sent.
    pub outgoing_window: u32,
    /// The link.
    pub handle: Option<u32>,
    /// Deliveries on the link so far, as the sender counts them.
    pub delivery_count: Option<u32>,
    /// Deliveries that the receiver takes from that count on.
    pub link_credit: Option<u32>,
    /// Deliveries that wait at the sender.
    pub available: Option<u32>,
    /// Whether the sender shall use up or give up the credit.
    pub drain: bool,
    /// Whether an answer is wanted.
    pub echo: bool,
    /// What else is said.
    pub properties: Map,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct End {
    /// Why, if not in order.
    pub error: Option<ErrorCondition>,
}

impl Begin {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        Ok(Self {
            remote_channel: fields.ushort("remote-channel")?,
            next_outgoing_id: fields.uint("next-outgoing-id")?.ok_or(AmqpError::Field("next-outgoing-id"))?,
            incoming_window: fields.uint("incoming-window")?.ok_or(AmqpError::Field("incoming-window"))?,
            outgoing_window: fields.uint("outgoing-window")?.ok_or(AmqpError::Field("outgoing-window"))?,
            handle_max: fields.uint("handle-max")?,
            offered_capabilities: fields.symbols("offered-capabilities")?,
            desired_capabilities: fields.symbols("desired-capabilities")?,
            properties: fields.map("properties")?,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, BEGIN);
        list.ushort(self.remote_channel).uint(self.next_outgoing_id).uint(self.incoming_window);
        list.uint(self.outgoing_window).uint(self.handle_max.unwrap_or(u32::MAX));
        list.symbols(&self.offered_capabilities).symbols(&self.desired_capabilities).map(&self.properties);
        list.end();
    }
}

impl Flow {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        Ok(Self {
            next_incoming_id: fields.uint("next-incoming-id")?,
            incoming_window: fields.uint("incoming-window")?.ok_or(AmqpError::Field("incoming-window"))?,
            next_outgoing_id: fields.uint("next-outgoing-id")?.ok_or(AmqpError::Field("next-outgoing-id"))?,
            outgoing_window: fields.uint("outgoing-window")?.ok_or(AmqpError::Field("outgoing-window"))?,
            handle: fields.uint("handle")?,
            delivery_count: fields.uint("delivery-count")?,
            link_credit: fields.uint("link-credit")?,
            available: fields.uint("available")?,
            drain: fields.boolean("drain")?.unwrap_or_default(),
            echo: fields.boolean("echo")?.unwrap_or_default(),
            properties: fields.map("properties")?,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, FLOW);
        list.uint(self.next_incoming_id).uint(self.incoming_window).uint(self.next_outgoing_id);
        list.uint(self.outgoing_window).uint(self.handle).uint(self.delivery_count).uint(self.link_credit);
        list.uint(self.available).boolean(self.drain).boolean(self.echo).map(&self.properties);
        list.end();
    }
}

impl End {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        Ok(Self { error: ErrorCondition::field(&mut fields)? })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, END);
        list.composite(self.error.as_ref(), ErrorCondition::write);
        list.end();
    }
}
