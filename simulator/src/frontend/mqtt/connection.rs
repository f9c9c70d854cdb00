//! One MQTT connection: lets the client in, then moves packets both ways until either side ends it.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Client, Credential, Gateway, SessionKind};
use edgectl_hub::message::MAX_MESSAGE_BYTES;
use edgectl_schemas::sas::CLOCK_SKEW_SECONDS;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode, PROTOCOL_LEVEL};
use edgectl_wire::mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{ConnectedClient, Reaction};
use super::link::MqttLink;
use super::refusal::connect_code;
use crate::mqtt::packets::{PacketReader, PacketWriter};
use crate::mqtt::username::Username;

/// A client must say who it is within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_mins(1);
/// A longer keep-alive is taken for this one.
const MAX_KEEP_ALIVE: Duration = Duration::from_mins(10);
/// A packet: the largest message, and its topic with all properties encoded.
const MAX_PACKET_BYTES: usize = MAX_MESSAGE_BYTES + 64 * 1024 + 16;
/// Packets from the hub that may wait for a slow client.
const OUT_QUEUE: usize = 64;
/// Packets from the client that are handed to the hub together.
const IN_BATCH: usize = 64;
/// A client that does not take what it is sent for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves one connection to its end.
pub async fn serve<S>(
    stream: S,
    certificates: Vec<Vec<u8>>,
    gateway: Arc<dyn Gateway>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let mut reader = PacketReader::new(read, MAX_PACKET_BYTES);
    let mut writer = PacketWriter::new(write);
    let first = tokio::select! {
        () = shutdown.cancelled() => return,
        first = timeout(CONNECT_TIMEOUT, reader.next()) => first,
    };
    // Whatever else comes first, or nothing at all, ends the connection without a word (3.1 of the standard).
    let Ok(Ok(Some(Packet::Connect(connect)))) = first else { return };
    match admit(&connect, certificates, gateway.as_ref()).await {
        Ok(client) => {
            let closed = shutdown.child_token();
            run(reader, writer, &connect, client, gateway, clock, closed).await;
        }
        Err(code) => {
            writer.put(&Packet::ConnAck(ConnAck { session_present: false, code }));
            // A client that is refused may be gone already.
            let _ = writer.flush().await;
            let _ = writer.close().await;
        }
    }
}

/// Finds out who connects, and whether it may.
async fn admit(
    connect: &Connect,
    certificates: Vec<Vec<u8>>,
    gateway: &dyn Gateway,
) -> Result<Client, ConnectReturnCode> {
    if connect.protocol_level != PROTOCOL_LEVEL {
        return Err(ConnectReturnCode::ProtocolVersion);
    }
    let username = Username::parse(connect.username.as_deref().unwrap_or_default()).map_err(|error| {
        tracing::warn!(client = connect.client_id, %error, "a connection was refused");
        ConnectReturnCode::NotAuthorized
    })?;
    if connect.client_id != username.identity.to_string() {
        tracing::warn!(client = connect.client_id, "a connection was refused: the user name is another client's");
        return Err(ConnectReturnCode::NotAuthorized);
    }
    let token = connect.password.as_ref().map(|password| String::from_utf8_lossy(password).into_owned());
    let credential = match (token.filter(|token| !token.is_empty()), username.auth_chain) {
        (Some(token), None) => Credential::Token(token),
        (Some(token), Some(chain)) => Credential::OnBehalfOf { token, chain },
        (None, _) => Credential::Certificate(certificates),
    };
    gateway.authenticate(&username.identity, &credential).await.map_err(|refusal| {
        tracing::warn!(client = connect.client_id, %refusal, "a connection was refused");
        connect_code(&refusal)
    })
}

async fn run<R, W>(
    mut reader: PacketReader<R>,
    mut writer: PacketWriter<W>,
    connect: &Connect,
    client: Client,
    gateway: Arc<dyn Gateway>,
    clock: Arc<dyn Clock>,
    closed: CancellationToken,
) where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (out, mut queue) = mpsc::channel::<Packet>(OUT_QUEUE);
    let link = MqttLink::new(client.identity.clone(), out.clone(), closed.clone());
    let session = if connect.clean_session { SessionKind::Clean } else { SessionKind::Persistent };
    let attachment = match gateway.attach(&client, session, Arc::clone(&link) as _).await {
        Ok(attachment) => attachment,
        Err(refusal) => {
            writer.put(&Packet::ConnAck(ConnAck { session_present: false, code: connect_code(&refusal) }));
            let _ = writer.flush().await;
            return;
        }
    };
    // The answer goes before anything that the hub sends already.
    let accepted = ConnAck { session_present: attachment.session_present, code: ConnectReturnCode::Accepted };
    writer.put(&Packet::ConnAck(accepted));
    let writing = tokio::spawn({
        let closed = closed.clone();
        async move { write_all(&mut writer, &mut queue, &closed).await }
    });
    let client = ConnectedClient { gateway, attachment, link, clock };
    let reason = read_all(&mut reader, &client, &out, keep_alive(connect), &closed).await;
    tracing::debug!(client = %client.attachment.client.identity, reason, "a connection ended");
    closed.cancel();
    client.gateway.detach(&client.attachment).await;
    drop(out);
    // The writer ends with `closed`; that it panicked is not possible to mend here.
    let _ = writing.await;
}

/// Half as long again as the client promised to be heard of; none if it promised nothing.
fn keep_alive(connect: &Connect) -> Option<Duration> {
    let promised = Duration::from_secs(connect.keep_alive.into());
    (!promised.is_zero()).then(|| promised.min(MAX_KEEP_ALIVE).mul_f64(1.5))
}

async fn read_all<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
    client: &ConnectedClient,
    out: &mpsc::Sender<Packet>,
    keep_alive: Option<Duration>,
    closed: &CancellationToken,
) -> &'static str {
    let expiry = client.attachment.client.expires_at.map(|at| {
        let left = (at + CLOCK_SKEW_SECONDS).saturating_sub(client.clock.now_seconds());
        Instant::now() + Duration::from_secs(left)
    });
    loop {
        let silence = keep_alive.map(|time| Instant::now() + time);
        let packets = tokio::select! {
            () = closed.cancelled() => return "the hub closed it",
            () = at(expiry) => return "the token expired",
            () = at(silence) => return "the client was silent for too long",
            packets = next_batch(reader) => match packets {
                Ok(packets) if packets.is_empty() => return "the client closed it",
                Ok(packets) => packets,
                Err(reason) => return reason,
            },
        };
        match client.handle(packets).await {
            Reaction::Send(answers) => {
                for answer in answers {
                    tokio::select! {
                        () = closed.cancelled() => return "the hub closed it",
                        sent = out.send(answer) => if sent.is_err() { return "the client takes nothing" },
                    }
                }
            }
            Reaction::Close(reason) => return reason,
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next packet, and those that were read with it.
async fn next_batch<R: AsyncRead + Unpin>(reader: &mut PacketReader<R>) -> Result<Vec<Packet>, &'static str> {
    let report = |error: crate::mqtt::packets::PacketError| {
        tracing::debug!(%error, "a connection broke");
        "the connection broke"
    };
    let Some(first) = reader.next().await.map_err(report)? else { return Ok(Vec::new()) };
    let mut packets = vec![first];
    while packets.len() < IN_BATCH {
        match reader.buffered() {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => break,
            Err(error) => return Err(report(error)),
        }
    }
    Ok(packets)
}

/// Writes what comes through the queue, many packets at once where many wait.
async fn write_all<W: AsyncWrite + Unpin>(
    writer: &mut PacketWriter<W>,
    queue: &mut mpsc::Receiver<Packet>,
    closed: &CancellationToken,
) {
    loop {
        match timeout(WRITE_TIMEOUT, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => break,
        }
        tokio::select! {
            biased;
            packet = queue.recv() => match packet {
                Some(packet) => writer.put(&packet),
                None => break,
            },
            () = closed.cancelled() => break,
        }
        while let Ok(packet) = queue.try_recv() {
            writer.put(&packet);
        }
    }
    closed.cancel();
    // The other side may be gone.
    let _ = timeout(WRITE_TIMEOUT, writer.close()).await;
}
