//! Why something ended (2.8.14), with the conditions that are the standard's and those that the SDKs know besides.

use bytes::BytesMut;

use super::composite::{Fields, List};
use super::error::AmqpError;
use super::value::{Map, Symbol};

/// The descriptor.
const CODE: u8 = 0x1d;

/// An error as peers tell each other of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorCondition {
    /// What kind it is.
    pub condition: Symbol,
    /// What a person may want to know.
    pub description: Option<String>,
    /// What a program may want to know.
    pub info: Map,
}

/// An operation is not allowed to who asks for it.
pub const UNAUTHORIZED: Symbol = Symbol::new("amqp:unauthorized-access");
/// An address or a device does not exist.
pub const NOT_FOUND: Symbol = Symbol::new("amqp:not-found");
/// The peer failed.
pub const INTERNAL: Symbol = Symbol::new("amqp:internal-error");
/// Bytes are not AMQP.
pub const DECODE: Symbol = Symbol::new("amqp:decode-error");
/// A field has a value that makes no sense.
pub const INVALID_FIELD: Symbol = Symbol::new("amqp:invalid-field");
/// Something was asked for at the wrong time.
pub const NOT_ALLOWED: Symbol = Symbol::new("amqp:not-allowed");
/// Something is not done here.
pub const NOT_IMPLEMENTED: Symbol = Symbol::new("amqp:not-implemented");
/// There is too much of something.
pub const RESOURCE_LIMIT: Symbol = Symbol::new("amqp:resource-limit-exceeded");
/// A message is too large.
pub const MESSAGE_SIZE: Symbol = Symbol::new("amqp:link:message-size-exceeded");
/// More was sent than there was credit for.
pub const TRANSFER_LIMIT: Symbol = Symbol::new("amqp:link:transfer-limit-exceeded");
/// Another link took over.
pub const STOLEN: Symbol = Symbol::new("amqp:link:stolen");
/// What is asked for is elsewhere; the information says where.
pub const REDIRECT: Symbol = Symbol::new("amqp:link:redirect");
/// An operator, or the end of the service, ends a link.
pub const DETACH_FORCED: Symbol = Symbol::new("amqp:link:detach-forced");
/// The same for a connection.
pub const CONNECTION_FORCED: Symbol = Symbol::new("amqp:connection:forced");
/// Frames came in the wrong order.
pub const FRAMING: Symbol = Symbol::new("amqp:connection:framing-error");
/// More frames were sent than the window has.
pub const WINDOW: Symbol = Symbol::new("amqp:session:window-violation");
/// A handle is used that is not attached.
pub const UNATTACHED_HANDLE: Symbol = Symbol::new("amqp:session:unattached-handle");
/// A handle is attached that is in use.
pub const HANDLE_IN_USE: Symbol = Symbol::new("amqp:session:handle-in-use");
/// A request breaks a rule.
pub const ARGUMENT: Symbol = Symbol::new("com.microsoft:argument-error");
/// Who should answer did not in time.
pub const TIMEOUT: Symbol = Symbol::new("com.microsoft:timeout");

impl ErrorCondition {
    /// An error with a description.
    pub fn new(condition: Symbol, description: impl Into<String>) -> Self {
        Self { condition, description: Some(description.into()), info: Map::new() }
    }

    /// Takes the next field.
    pub(super) fn field(fields: &mut Fields) -> Result<Option<Self>, AmqpError> {
        match fields.composite("error")? {
            None => Ok(None),
            Some((code, mut fields)) if code == u64::from(CODE) => Ok(Some(Self {
                condition: fields.symbol("condition")?.ok_or(AmqpError::Field("condition"))?,
                description: fields.text("description")?,
                info: fields.map("info")?,
            })),
            Some(_) => Err(AmqpError::Field("error")),
        }
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, CODE);
        list.symbol(Some(&self.condition)).text(self.description.as_deref()).map(&self.info);
        list.end();
    }
}
