//! How a connection begins: protocol headers, the security layer where the client wants it, and OPEN both ways.

use edgectl_hub::gateway::{Client, Credential, Gateway};
use edgectl_wire::amqp::error::AmqpError;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader};
use edgectl_wire::amqp::open::Open;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::sasl::{SaslCode, SaslFrame};
use edgectl_wire::amqp::value::{Map, Symbol, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use super::conversation::CHANNEL_MAX;
use super::refusal::sasl_code;
use crate::amqp::frames::{FrameError, FrameReader, FrameWriter};
use crate::amqp::sasl::Plain;

/// The largest frame that is taken, and sent.
pub const MAX_FRAME_BYTES: u32 = 64 * 1024;
/// Half of what a client may be silent for, as the standard wants it told (2.7.1).
const IDLE_TIME_OUT_MILLISECONDS: u32 = 120_000;

/// Ways to prove who one is. All but the last prove nothing here: a token is put on a link, or a certificate was presented
/// in the TLS handshake.
const MECHANISMS: [Symbol; 4] =
    [Symbol::new("MSSBCBS"), Symbol::new("ANONYMOUS"), Symbol::new("EXTERNAL"), Symbol::new("PLAIN")];
const PLAIN: Symbol = Symbol::new("PLAIN");

/// What was agreed.
pub struct Opened {
    /// What the client says of itself.
    pub open: Open,
    /// Who it is, if it proved that in the security layer.
    pub client: Option<Client>,
}

/// A connection that does not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The stream ended, or holds something else.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The client ended it.
    #[error("the client closed it")]
    Closed,
    /// The client sent a frame that has no place here.
    #[error("a frame came at the wrong time")]
    Order,
    /// The client did not prove who it is.
    #[error("the proof does not hold")]
    Proof,
}

impl From<std::io::Error> for OpeningError {
    fn from(error: std::io::Error) -> Self {
        Self::Frame(error.into())
    }
}

/// Agrees with a client on how the connection goes on. Some clients leave the security layer out.
pub async fn open<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    gateway: &dyn Gateway,
) -> Result<Opened, OpeningError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut client = None;
    let mut header = next_header(reader, writer).await?;
    if header == ProtocolHeader::Sasl {
        client = prove(reader, writer, gateway).await?;
        header = next_header(reader, writer).await?;
    }
    if header != ProtocolHeader::Amqp {
        return Err(OpeningError::Order);
    }
    writer.put_header(ProtocolHeader::Amqp);
    writer.flush().await?;
    loop {
        match reader.next().await? {
            Some(Frame::Amqp { performative: Performative::Open(open), .. }) => {
                writer.put(&Frame::of(0, Performative::Open(Box::new(own_open()))));
                writer.flush().await?;
                return Ok(Opened { open: *open, client });
            }
            Some(Frame::Empty) => {}
            Some(_) => return Err(OpeningError::Order),
            None => return Err(OpeningError::Closed),
        }
    }
}

/// Who begins with something else is told what is spoken here (2.2).
async fn next_header<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
) -> Result<ProtocolHeader, OpeningError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match reader.header().await {
        Ok(Some(header)) => Ok(header),
        Ok(None) => Err(OpeningError::Closed),
        Err(error) => {
            if matches!(error, FrameError::Amqp(AmqpError::ProtocolHeader)) {
                writer.put_header(ProtocolHeader::Sasl);
                writer.flush().await?;
            }
            Err(error.into())
        }
    }
}

async fn prove<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    gateway: &dyn Gateway,
) -> Result<Option<Client>, OpeningError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    writer.put_header(ProtocolHeader::Sasl);
    writer.put(&Frame::Sasl(SaslFrame::Mechanisms(MECHANISMS.to_vec())));
    writer.flush().await?;
    let (mechanism, response) = match reader.next().await? {
        Some(Frame::Sasl(SaslFrame::Init { mechanism, initial_response, .. })) => (mechanism, initial_response),
        Some(_) => return Err(OpeningError::Order),
        None => return Err(OpeningError::Closed),
    };
    let (code, client) = if mechanism == PLAIN {
        match Plain::read(&response.unwrap_or_default()) {
            Some(plain) => match gateway.authenticate(&plain.identity, &Credential::Token(plain.password)).await {
                Ok(client) => (SaslCode::Ok, Some(client)),
                Err(refusal) => {
                    tracing::warn!(client = %plain.identity, %refusal, "a connection was refused");
                    (sasl_code(&refusal), None)
                }
            },
            None => (SaslCode::Authentication, None),
        }
    } else if MECHANISMS.contains(&mechanism) {
        (SaslCode::Ok, None)
    } else {
        (SaslCode::Authentication, None)
    };
    writer.put(&Frame::Sasl(SaslFrame::Outcome(code)));
    writer.flush().await?;
    if code == SaslCode::Ok { Ok(client) } else { Err(OpeningError::Proof) }
}

fn own_open() -> Open {
    let mut properties = Map::new();
    properties.put_symbol("product", "edgectl".into());
    properties.put_symbol("version", Value::from(env!("CARGO_PKG_VERSION")));
    Open {
        container_id: "edgectl".to_owned(),
        hostname: None,
        max_frame_size: Some(MAX_FRAME_BYTES),
        channel_max: Some(CHANNEL_MAX),
        idle_time_out: Some(IDLE_TIME_OUT_MILLISECONDS),
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties,
    }
}
