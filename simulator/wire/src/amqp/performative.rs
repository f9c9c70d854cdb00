//! The performatives: what frames of a connection say.

use bytes::BytesMut;

use super::attach::{self, Attach, Detach};
use super::composite::Fields;
use super::error::AmqpError;
use super::open::{self, Close, Open};
use super::reader::Reader;
use super::session::{self, Begin, End, Flow};
use super::transfer::{self, Disposition, Transfer};

/// What a frame says.
#[derive(Debug, Clone, PartialEq)]
pub enum Performative {
    /// A connection begins.
    Open(Box<Open>),
    /// A session begins.
    Begin(Box<Begin>),
    /// A link begins.
    Attach(Box<Attach>),
    /// So much may be sent.
    Flow(Flow),
    /// A message.
    Transfer(Transfer),
    /// What became of messages.
    Disposition(Disposition),
    /// A link ends.
    Detach(Detach),
    /// A session ends.
    End(End),
    /// A connection ends.
    Close(Close),
}

impl Performative {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, AmqpError> {
        let (code, fields) = Fields::read(reader)?;
        Ok(match u8::try_from(code) {
            Ok(open::OPEN) => Self::Open(Box::new(Open::read(fields)?)),
            Ok(session::BEGIN) => Self::Begin(Box::new(Begin::read(fields)?)),
            Ok(attach::ATTACH) => Self::Attach(Box::new(Attach::read(fields)?)),
            Ok(session::FLOW) => Self::Flow(Flow::read(fields)?),
            Ok(transfer::TRANSFER) => Self::Transfer(Transfer::read(fields)?),
            Ok(transfer::DISPOSITION) => Self::Disposition(Disposition::read(fields)?),
            Ok(attach::DETACH) => Self::Detach(Detach::read(fields)?),
            Ok(session::END) => Self::End(End::read(fields)?),
            Ok(open::CLOSE) => Self::Close(Close::read(fields)?),
            _ => return Err(AmqpError::Descriptor),
        })
    }

    pub(super) fn write(&self, buffer: &mut BytesMut) {
        match self {
            Self::Open(open) => open.write(buffer),
            Self::Begin(begin) => begin.write(buffer),
            Self::Attach(attach) => attach.write(buffer),
            Self::Flow(flow) => flow.write(buffer),
            Self::Transfer(transfer) => transfer.write(buffer),
            Self::Disposition(disposition) => disposition.write(buffer),
            Self::Detach(detach) => detach.write(buffer),
            Self::End(end) => end.write(buffer),
            Self::Close(close) => close.write(buffer),
        }
    }
}
