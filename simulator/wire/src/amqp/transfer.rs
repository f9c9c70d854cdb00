//! TRANSFER (2.7.5) and DISPOSITION (2.7.6).

use bytes::{Bytes, BytesMut};

use super::attach::{ReceiverSettleMode, Role};
use super::composite::{Fields, List};
use super::delivery_state::DeliveryState;
use super::error::AmqpError;

pub(super) const TRANSFER: u8 = 0x14;
pub(super) const DISPOSITION: u8 = 0x15;

/// Most bytes of a frame that are not the message: header and fields, with a delivery tag of its full length.
pub const TRANSFER_OVERHEAD: usize = 128;

/// A message, or a part of it; the bytes are the frame's payload.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the standard has them")]
pub struct Transfer {
    /// The link.
    pub handle: u32,
    /// Its number in the session; in the first part at least.
    pub delivery_id: Option<u32>,
    /// Names the delivery, at most 32 bytes; in the first part at least.
    pub delivery_tag: Option<Bytes>,
    /// How the bytes are to be read; 0 for what the standard defines.
    pub message_format: Option<u32>,
    /// Whether no answer is expected.
    pub settled: Option<bool>,
    /// Whether another part follows.
    pub more: bool,
    /// How the receiver shall settle this one.
    pub receiver_settle_mode: Option<ReceiverSettleMode>,
    /// What became of it already.
    pub state: Option<DeliveryState>,
    /// Whether it goes on where another link ended.
    pub resume: bool,
    /// Whether the sender gives up, and nothing of it counts.
    pub aborted: bool,
    /// Whether the receiver may wait with the answer for others.
    pub batchable: bool,
}

/// What became of some deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct Disposition {
    /// Which end of the link speaks.
    pub role: Role,
    /// The first delivery.
    pub first: u32,
    /// The last; the first if there is no number.
    pub last: Option<u32>,
    /// Whether they are forgotten with this.
    pub settled: bool,
    /// What became of them.
    pub state: Option<DeliveryState>,
    /// Whether the peer may wait with its answer for others.
    pub batchable: bool,
}

impl Transfer {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        let transfer = Self {
            handle: fields.uint("handle")?.ok_or(AmqpError::Field("handle"))?,
            delivery_id: fields.uint("delivery-id")?,
            delivery_tag: fields.binary("delivery-tag")?,
            message_format: fields.uint("message-format")?,
            settled: fields.boolean("settled")?,
            more: fields.boolean("more")?.unwrap_or_default(),
            receiver_settle_mode: match fields.ubyte("rcv-settle-mode")? {
                None => None,
                Some(0) => Some(ReceiverSettleMode::First),
                Some(1) => Some(ReceiverSettleMode::Second),
                Some(_) => return Err(AmqpError::Field("rcv-settle-mode")),
            },
            state: DeliveryState::field(&mut fields)?,
            resume: fields.boolean("resume")?.unwrap_or_default(),
            aborted: fields.boolean("aborted")?.unwrap_or_default(),
            batchable: fields.boolean("batchable")?.unwrap_or_default(),
        };
        match &transfer.delivery_tag {
            Some(tag) if tag.len() > 32 => Err(AmqpError::Field("delivery-tag")),
            _ => Ok(transfer),
        }
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let receiver_settle_mode = self.receiver_settle_mode.map(|mode| u8::from(mode == ReceiverSettleMode::Second));
        let mut list = List::begin(buffer, TRANSFER);
        list.uint(self.handle).uint(self.delivery_id).binary(self.delivery_tag.as_deref()).uint(self.message_format);
        list.boolean(self.settled).boolean(self.more).ubyte(receiver_settle_mode);
        list.composite(self.state.as_ref(), DeliveryState::write);
        list.boolean(self.resume).boolean(self.aborted).boolean(self.batchable);
        list.end();
    }
}

impl Disposition {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        Ok(Self {
            role: Role::field(&mut fields)?,
            first: fields.uint("first")?.ok_or(AmqpError::Field("first"))?,
            last: fields.uint("last")?,
            settled: fields.boolean("settled")?.unwrap_or_default(),
            state: DeliveryState::field(&mut fields)?,
            batchable: fields.boolean("batchable")?.unwrap_or_default(),
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, DISPOSITION);
        list.boolean(self.role.is_receiver()).uint(self.first).uint(self.last).boolean(self.settled);
        list.composite(self.state.as_ref(), DeliveryState::write).boolean(self.batchable);
        list.end();
    }
}
