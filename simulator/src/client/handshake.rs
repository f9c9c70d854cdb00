//! The way to a connection, and its orderly end.

use std::time::Duration;

use edgectl_hub::clock::{Clock, within};
use edgectl_hub::gateway::SessionKind;
use edgectl_wire::mqtt::connect::{Connect, ConnectReturnCode, PROTOCOL_LEVEL};
use edgectl_wire::mqtt::packet::Packet;
use tokio::io::{AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::device_client::ClientOptions;
use super::token::Token;
use crate::mqtt::packets::{PacketError, PacketReader, PacketWriter};
use crate::mqtt::username;

/// For the whole way from the first byte to CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For the last packet.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// A packet from a hub: its largest message, and the topic.
const MAX_PACKET_BYTES: usize = 262_144 + 64 * 1024 + 16;

/// A connection that the hub has accepted.
pub(super) struct Connected {
    /// What the hub sends.
    pub reader: PacketReader<ReadHalf<TlsStream<DuplexStream>>>,
    /// What it is sent.
    pub writer: PacketWriter<WriteHalf<TlsStream<DuplexStream>>>,
    /// Whether the hub goes on with an earlier session.
    pub session_present: bool,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: u64,
}

/// Why a connection did not come about.
pub(super) enum Failure {
    /// The hub will not have this client.
    Unauthorized(String),
    /// It may do the next time.
    Other(String),
}

impl Failure {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Connects once.
pub(super) async fn connect(options: &ClientOptions) -> Result<Connected, Failure> {
    let clock = options.link.clock();
    let attempt = within(clock.as_ref(), CONNECT_TIMEOUT, async {
        let token = options.tokens.token(clock.now_seconds()).await.map_err(Failure::other)?;
        let (reader, writer, answer) = open(options, &token).await.map_err(Failure::other)?;
        match answer {
            Some(Packet::ConnAck(answer)) => match answer.code {
                ConnectReturnCode::Accepted => {
                    let session_present = answer.session_present;
                    Ok(Connected { reader, writer, session_present, expires_at: token.expires_at })
                }
                ConnectReturnCode::ServerUnavailable => Err(Failure::other("the hub cannot serve now")),
                code => Err(Failure::Unauthorized(format!("the hub refuses {} ({code:?})", options.identity))),
            },
            _ => Err(Failure::other("the hub closed the connection")),
        }
    });
    attempt.await.unwrap_or_else(|| Err(Failure::other("no answer in time")))
}

type Opened =
    (PacketReader<ReadHalf<TlsStream<DuplexStream>>>, PacketWriter<WriteHalf<TlsStream<DuplexStream>>>, Option<Packet>);

/// Opens the stream and sends CONNECT; the packet is what the hub answers.
async fn open(options: &ClientOptions, token: &Token) -> Result<Opened, PacketError> {
    let stream = options.link.connect(options.address).await?;
    let stream = TlsConnector::from(options.tls.clone()).connect(options.server_name.clone(), stream).await?;
    let (read, write) = tokio::io::split(stream);
    let (mut reader, mut writer) = (PacketReader::new(read, MAX_PACKET_BYTES), PacketWriter::new(write));
    let chain = options.auth_chain.as_deref();
    writer.put(&Packet::Connect(Box::new(Connect {
        protocol_level: PROTOCOL_LEVEL,
        clean_session: options.session == SessionKind::Clean,
        keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: options.identity.to_string(),
        will: None,
        username: Some(username::format(&options.hub_host, &options.identity, &options.product, chain)),
        password: Some(token.text.clone().into()),
    })));
    writer.flush().await?;
    let answer = reader.next().await?;
    Ok((reader, writer, answer))
}

/// Disconnects in order.
pub(super) async fn leave<W: AsyncWrite + Unpin>(writer: &mut PacketWriter<W>, clock: &dyn Clock) {
    writer.put(&Packet::Disconnect);
    // The hub may be gone; then there is nobody to say good-bye to.
    within(clock, LEAVE_TIMEOUT, async {
        writer.flush().await?;
        writer.close().await
    })
    .await;
}
