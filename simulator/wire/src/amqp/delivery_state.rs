//! What became of a delivery (3.4).

use bytes::BytesMut;

use super::composite::{Fields, List};
use super::condition::ErrorCondition;
use super::error::AmqpError;
use super::value::Map;

const RECEIVED: u8 = 0x23;
const ACCEPTED: u8 = 0x24;
const REJECTED: u8 = 0x25;
const RELEASED: u8 = 0x26;
const MODIFIED: u8 = 0x27;

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum DeliveryState {
    /// So much of it has arrived.
    Received {
        /// Sections that are whole.
        section_number: u32,
        /// Bytes of the next.
        section_offset: u64,
    },
    /// The receiver took it.
    Accepted,
    /// The receiver will never take it.
    Rejected(Option<ErrorCondition>),
    /// The receiver gives it back, untouched.
    Released,
    /// The receiver gives it back, and something is to be changed.
    Modified {
        /// Whether the delivery counts as a failed one.
        delivery_failed: bool,
        /// Whether it shall not come to this receiver again.
        undeliverable_here: bool,
        /// Annotations to be merged into the message's.
        annotations: Map,
    },
    /// A state of an extension, transactions among them.
    Other(u64),
}

impl DeliveryState {
    /// Takes the next field.
    pub(super) fn field(fields: &mut Fields) -> Result<Option<Self>, AmqpError> {
        let Some((code, mut fields)) = fields.composite("state")? else { return Ok(None) };
        Ok(Some(match u8::try_from(code) {
            Ok(RECEIVED) => Self::Received {
                section_number: fields.uint("section-number")?.ok_or(AmqpError::Field("section-number"))?,
                section_offset: fields.ulong("section-offset")?.ok_or(AmqpError::Field("section-offset"))?,
            },
            Ok(ACCEPTED) => Self::Accepted,
            Ok(REJECTED) => Self::Rejected(ErrorCondition::field(&mut fields)?),
            Ok(RELEASED) => Self::Released,
            Ok(MODIFIED) => Self::Modified {
                delivery_failed: fields.boolean("delivery-failed")?.unwrap_or_default(),
                undeliverable_here: fields.boolean("undeliverable-here")?.unwrap_or_default(),
                annotations: fields.map("message-annotations")?,
            },
            _ => Self::Other(code),
        }))
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        match self {
            Self::Received { section_number, section_offset } => {
                let mut list = List::begin(buffer, RECEIVED);
                list.uint(*section_number).ulong(*section_offset);
                list.end();
            }
            Self::Rejected(error) => {
                let mut list = List::begin(buffer, REJECTED);
                list.composite(error.as_ref(), ErrorCondition::write);
                list.end();
            }
            // States of extensions are read and never written.
            Self::Accepted | Self::Other(_) => List::begin(buffer, ACCEPTED).end(),
            Self::Released => List::begin(buffer, RELEASED).end(),
            Self::Modified { delivery_failed, undeliverable_here, annotations } => {
                let mut list = List::begin(buffer, MODIFIED);
                list.boolean(*delivery_failed).boolean(*undeliverable_here).map(annotations);
                list.end();
            }
        }
    }
}
