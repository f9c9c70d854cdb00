//! Frames of the security layer (5.3).

use bytes::{Bytes, BytesMut};

use super::composite::{Fields, List};
use super::error::AmqpError;
use super::reader::Reader;
use super::value::Symbol;

const MECHANISMS: u8 = 0x40;
const INIT: u8 = 0x41;
const CHALLENGE: u8 = 0x42;
const RESPONSE: u8 = 0x43;
const OUTCOME: u8 = 0x44;

/// What a frame of the security layer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaslFrame {
    /// Server to client: how one may prove who one is.
    Mechanisms(Vec<Symbol>),
    /// Client to server: how it does.
    Init {
        /// The mechanism.
        mechanism: Symbol,
        /// What the mechanism begins with.
        initial_response: Option<Bytes>,
        /// Whom the client wants to reach.
        hostname: Option<String>,
    },
    /// Server to client: a question of the mechanism.
    Challenge(Bytes),
    /// Client to server: the answer.
    Response(Bytes),
    /// Server to client: the end.
    Outcome(SaslCode),
}

/// How the security layer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslCode {
    /// The client may go on.
    Ok,
    /// The proof does not hold.
    Authentication,
    /// The server failed.
    System,
    /// The server failed, and always will.
    SystemPermanent,
    /// The server failed, and may not the next time.
    SystemTemporary,
}

impl SaslCode {
    const ALL: [Self; 5] = [Self::Ok, Self::Authentication, Self::System, Self::SystemPermanent, Self::SystemTemporary];

    fn byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Authentication => 1,
            Self::System => 2,
            Self::SystemPermanent => 3,
            Self::SystemTemporary => 4,
        }
    }
}

impl SaslFrame {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, AmqpError> {
        let (code, mut fields) = Fields::read(reader)?;
        Ok(match u8::try_from(code) {
            Ok(MECHANISMS) => Self::Mechanisms(fields.symbols("sasl-server-mechanisms")?),
            Ok(INIT) => Self::Init {
                mechanism: fields.symbol("mechanism")?.ok_or(AmqpError::Field("mechanism"))?,
                initial_response: fields.binary("initial-response")?,
                hostname: fields.text("hostname")?,
            },
            Ok(CHALLENGE) => Self::Challenge(fields.binary("challenge")?.ok_or(AmqpError::Field("challenge"))?),
            Ok(RESPONSE) => Self::Response(fields.binary("response")?.ok_or(AmqpError::Field("response"))?),
            Ok(OUTCOME) => {
                let byte = fields.ubyte("code")?;
                let code = SaslCode::ALL.into_iter().find(|code| Some(code.byte()) == byte);
                Self::Outcome(code.ok_or(AmqpError::Field("code"))?)
            }
            _ => return Err(AmqpError::Descriptor),
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        match self {
            Self::Mechanisms(mechanisms) => {
                let mut list = List::begin(buffer, MECHANISMS);
                list.symbols(mechanisms);
                list.end();
            }
            Self::Init { mechanism, initial_response, hostname } => {
                let mut list = List::begin(buffer, INIT);
                list.symbol(Some(mechanism)).binary(initial_response.as_deref()).text(hostname.as_deref());
                list.end();
            }
            Self::Challenge(bytes) => {
                let mut list = List::begin(buffer, CHALLENGE);
                list.binary(Some(bytes));
                list.end();
            }
            Self::Response(bytes) => {
                let mut list = List::begin(buffer, RESPONSE);
                list.binary(Some(bytes));
                list.end();
            }
            Self::Outcome(code) => {
                let mut list = List::begin(buffer, OUTCOME);
                list.ubyte(code.byte()).binary(None);
                list.end();
            }
        }
    }
}
