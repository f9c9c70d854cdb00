//! OPEN (2.7.1) and CLOSE (2.7.9).

use bytes::BytesMut;

use super::composite::{Fields, List};
use super::condition::ErrorCondition;
use super::error::AmqpError;
use super::value::{Map, Symbol};

pub(super) const OPEN: u8 = 0x10;
pub(super) const CLOSE: u8 = 0x18;

/// What a peer says of itself and of the connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// Who it is.
    pub container_id: String,
    /// Whom it wants to reach.
    pub hostname: Option<String>,
    /// The largest frame that it takes; all frames if there is no number.
    pub max_frame_size: Option<u32>,
    /// The highest channel that it takes; all if there is no number.
    pub channel_max: Option<u16>,
    /// Milliseconds after which it ends a silent connection.
    pub idle_time_out: Option<u32>,
    /// What it offers.
    pub offered_capabilities: Vec<Symbol>,
    /// What it wants.
    pub desired_capabilities: Vec<Symbol>,
    /// What else it says.
    pub properties: Map,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Close {
    /// Why, if not in order.
    pub error: Option<ErrorCondition>,
}

impl Open {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        let container_id = fields.text("container-id")?.ok_or(AmqpError::Field("container-id"))?;
        let hostname = fields.text("hostname")?;
        let max_frame_size = fields.uint("max-frame-size")?;
        let channel_max = fields.ushort("channel-max")?;
        let idle_time_out = fields.uint("idle-time-out")?;
        // The locales of descriptions: only one language is spoken here.
        let _outgoing_locales = fields.value();
        let _incoming_locales = fields.value();
        Ok(Self {
            container_id,
            hostname,
            max_frame_size,
            channel_max,
            idle_time_out,
            offered_capabilities: fields.symbols("offered-capabilities")?,
            desired_capabilities: fields.symbols("desired-capabilities")?,
            properties: fields.map("properties")?,
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, OPEN);
        list.text(Some(&self.container_id)).text(self.hostname.as_deref()).uint(self.max_frame_size);
        list.ushort(self.channel_max).uint(self.idle_time_out).symbols(&[]).symbols(&[]);
        list.symbols(&self.offered_capabilities).symbols(&self.desired_capabilities).map(&self.properties);
        list.end();
    }
}

impl Close {
    pub(super) fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        Ok(Self { error: ErrorCondition::field(&mut fields)? })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, CLOSE);
        list.composite(self.error.as_ref(), ErrorCondition::write);
        list.end();
    }
}
