//! How a connection begins: protocol headers, the security layer where the client wants it, and OPEN both ways.

use edgectl_hub::gateway::{Client, Credential, Refusal};
use edgectl_wire::amqp::error::AmqpError;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader};
use edgectl_wire::amqp::open::Open;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::sasl::{SaslCode, SaslFrame};
use edgectl_wire::amqp::value::{Map, Symbol, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Hub;
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
    pub proof: Option<Proof>,
}

/// What a peer proved in the security layer.
pub enum Proof {
    /// That it is a client.
    Client(Client),
    /// That it is a service.
    Service {
        /// When the proof is over, in seconds since the Unix epoch.
        until: u64,
    },
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
    hub: &Hub,
) -> Result<Opened, OpeningError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut proof = None;
    let mut header = next_header(reader, writer).await?;
    if header == ProtocolHeader::Sasl {
        proof = prove(reader, writer, hub).await?;
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
                return Ok(Opened { open: *open, proof });
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
    hub: &Hub,
) -> Result<Option<Proof>, OpeningError>
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
    let (code, proof) = if mechanism == PLAIN {
        match plain(&response.unwrap_or_default(), hub).await {
            Some(Ok(proof)) => (SaslCode::Ok, Some(proof)),
            Some(Err(refusal)) => {
                tracing::warn!(%refusal, "a connection was refused");
                (sasl_code(&refusal), None)
            }
            None => (SaslCode::Authentication, None),
        }
    } else if MECHANISMS.contains(&mechanism) {
        (SaslCode::Ok, None)
    } else {
        (SaslCode::Authentication, None)
    };
    writer.put(&Frame::Sasl(SaslFrame::Outcome(code)));
    writer.flush().await?;
    if code == SaslCode::Ok { Ok(proof) } else { Err(OpeningError::Proof) }
}

/// The proof in a user name and a password; none if they are nobody's.
async fn plain(response: &[u8], hub: &Hub) -> Option<Result<Proof, Refusal>> {
    if let Some(token) = Plain::policy_token(response) {
        return Some(hub.desk.as_ref()?.authorize(&token).map(|until| Proof::Service { until }));
    }
    let plain = Plain::read(response)?;
    Some(hub.gateway.authenticate(&plain.identity, &Credential::Token(plain.password)).await.map(Proof::Client))
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
