//! The two ends of a link: source (3.5.3) and target (3.5.4).

use bytes::BytesMut;

use super::composite::{Fields, List};
use super::delivery_state::DeliveryState;
use super::error::AmqpError;
use super::value::{Map, Symbol, Value};

const SOURCE: u8 = 0x28;
const TARGET: u8 = 0x29;

/// What both ends have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Terminus {
    /// Where it is.
    pub address: Option<String>,
    /// What outlives the link: 0 nothing, 1 the configuration, 2 also which deliveries are not settled.
    pub durable: u32,
    /// When it ends: with the link, its session, its connection, or never.
    pub expiry_policy: Option<Symbol>,
    /// Seconds until it ends after that.
    pub timeout: u32,
    /// Whether the peer shall make one and name it.
    pub dynamic: bool,
    /// What such a one shall be like.
    pub dynamic_node_properties: Map,
    /// What it can do.
    pub capabilities: Vec<Symbol>,
}

/// Where messages come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// What both ends have.
    pub terminus: Terminus,
    /// Whether messages are moved or copied.
    pub distribution_mode: Option<Symbol>,
    /// Which messages are wanted, by name of the filter.
    pub filter: Map,
    /// What becomes of deliveries that are not settled when the link ends.
    pub default_outcome: Option<DeliveryState>,
    /// What can become of deliveries.
    pub outcomes: Vec<Symbol>,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Target {
    /// What both ends have.
    pub terminus: Terminus,
}

impl Terminus {
    /// One that has no more than an address.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }

    fn read(fields: &mut Fields) -> Result<Self, AmqpError> {
        let address = match fields.value() {
            Value::Null => None,
            Value::String(address) => Some(address),
            Value::Symbol(address) => Some(address.to_string()),
            _ => return Err(AmqpError::Field("address")),
        };
        Ok(Self {
            address,
            durable: fields.uint("durable")?.unwrap_or_default(),
            expiry_policy: fields.symbol("expiry-policy")?,
            timeout: fields.uint("timeout")?.unwrap_or_default(),
            dynamic: fields.boolean("dynamic")?.unwrap_or_default(),
            dynamic_node_properties: fields.map("dynamic-node-properties")?,
            capabilities: Vec::new(),
        })
    }

    fn write(&self, list: &mut List<'_>) {
        list.text(self.address.as_deref()).uint(self.durable).symbol(self.expiry_policy.as_ref());
        list.uint(self.timeout).boolean(self.dynamic).map(&self.dynamic_node_properties);
    }
}

impl Source {
    pub(super) fn field(fields: &mut Fields) -> Result<Option<Self>, AmqpError> {
        let Some((code, mut fields)) = fields.composite("source")? else { return Ok(None) };
        if code != u64::from(SOURCE) {
            return Err(AmqpError::Field("source"));
        }
        let mut source = Self {
            terminus: Terminus::read(&mut fields)?,
            distribution_mode: fields.symbol("distribution-mode")?,
            filter: fields.map("filter")?,
            default_outcome: DeliveryState::field(&mut fields)?,
            outcomes: fields.symbols("outcomes")?,
        };
        source.terminus.capabilities = fields.symbols("capabilities")?;
        Ok(Some(source))
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, SOURCE);
        self.terminus.write(&mut list);
        list.symbol(self.distribution_mode.as_ref()).map(&self.filter);
        list.composite(self.default_outcome.as_ref(), DeliveryState::write);
        list.symbols(&self.outcomes).symbols(&self.terminus.capabilities);
        list.end();
    }
}

impl Target {
    pub(super) fn field(fields: &mut Fields) -> Result<Option<Self>, AmqpError> {
        let Some((code, mut fields)) = fields.composite("target")? else { return Ok(None) };
        if code != u64::from(TARGET) {
            return Err(AmqpError::Field("target"));
        }
        let mut terminus = Terminus::read(&mut fields)?;
        terminus.capabilities = fields.symbols("capabilities")?;
        Ok(Some(Self { terminus }))
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, TARGET);
        self.terminus.write(&mut list);
        list.symbols(&self.terminus.capabilities);
        list.end();
    }
}
