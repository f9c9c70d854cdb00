//! One MQTT connection: lets the client in, then moves packets both ways until either side ends it.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Client, Gateway, SessionKind};
use edgectl_hub::message::MAX_MESSAGE_BYTES;
use edgectl_schemas::sas::CLOCK_SKEW_SECONDS;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::admit;
use super::link::MqttLink;
use super::refusal::connect_code;
use super::session::{Reason, Session};
use crate::listen::Certificate;
use crate::mqtt::packets::{PacketReader, PacketWriter};

/// A client must say who it is within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_mins(1);
/// A longer keep-alive is taken for this one.
const MAX_KEEP_ALIVE: Duration = Duration::from_mins(10);
/// A packet: the largest message, and its topic with all properties encoded.
const MAX_PACKET_BYTES: usize = MAX_MESSAGE_BYTES + 64 * 1024 + 16;
/// Packets that may wait for a slow client.
const OUT_QUEUE: usize = 64;
/// A client that does not take what it is sent for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client asked before it left is done within this time, or not at all.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The last packets must be out by then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub async fn serve<S>(
    stream: S,
    certificate: Certificate,
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
    match admit(&connect, certificate, gateway.as_ref()).await {
        Ok(client) => {
            let closed = shutdown.child_token();
            run(reader, writer, &connect, client, gateway, clock, closed).await;
        }
        Err(code) => refuse(&mut writer, code).await,
    }
}

async fn refuse<W: AsyncWrite + Unpin>(writer: &mut PacketWriter<W>, code: ConnectReturnCode) {
    writer.put(&Packet::ConnAck(ConnAck { session_present: false, code }));
    finish(writer).await;
}

async fn run<R, W>(
    reader: PacketReader<R>,
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
    let (out, queue) = mpsc::channel::<Packet>(OUT_QUEUE);
    let link = MqttLink::new(client.identity.clone(), out.clone(), closed.clone());
    let kind = if connect.clean_session { SessionKind::Clean } else { SessionKind::Persistent };
    let attachment = match gateway.attach(&client, kind, Arc::clone(&link) as _).await {
        Ok(attachment) => attachment,
        Err(refusal) => {
            tracing::warn!(client = %client.identity, %refusal, "a connection was refused");
            return refuse(&mut writer, connect_code(&refusal)).await;
        }
    };
    // The answer goes before anything that the hub sends already.
    let accepted = ConnAck { session_present: attachment.session_present, code: ConnectReturnCode::Accepted };
    writer.put(&Packet::ConnAck(accepted));
    let writing = tokio::spawn(write_all(writer, queue, closed.clone()));
    let expiry = client.expires_at.and_then(|at| expiry(at, clock.as_ref()));
    let session = Session::new(gateway, attachment, link, clock);
    let mut conversation = Conversation { reader, session, out, closed, keep_alive: keep_alive(connect), expiry };
    let reason = conversation.run().await;
    let Conversation { session, out, closed, .. } = conversation;
    tracing::debug!(client = %session.client().identity, reason, "a connection ended");
    closed.cancel();
    session.end().await;
    drop(out);
    // The writer ends with `closed`; that it panicked is not possible to mend here.
    let _ = writing.await;
}

/// Half as long again as the client promised to be heard of; none if it promised nothing.
fn keep_alive(connect: &Connect) -> Option<Duration> {
    let promised = Duration::from_secs(connect.keep_alive.into());
    (!promised.is_zero()).then(|| promised.min(MAX_KEEP_ALIVE).mul_f64(1.5))
}

/// When a proof that holds until then, in seconds since the Unix epoch, is over for good; none if that is too far away to
/// be counted.
fn expiry(at: u64, clock: &dyn Clock) -> Option<Instant> {
    let left = at.saturating_add(CLOCK_SKEW_SECONDS).saturating_sub(clock.now_seconds());
    Instant::now().checked_add(Duration::from_secs(left))
}

/// A connection between CONNACK and its end.
struct Conversation<R> {
    reader: PacketReader<R>,
    session: Session,
    out: mpsc::Sender<Packet>,
    closed: CancellationToken,
    keep_alive: Option<Duration>,
    expiry: Option<Instant>,
}

impl<R: AsyncRead + Unpin> Conversation<R> {
    /// Reads on while the hub works, until the client leaves or may not go on, and what it asked before is done.
    async fn run(&mut self) -> Reason {
        let mut ending: Option<(Reason, Instant)> = None;
        loop {
            if let Some((reason, _)) = ending
                && self.session.is_idle()
            {
                return reason;
            }
            let reading = ending.is_none() && self.session.has_room();
            let silence = self.keep_alive.filter(|_| reading).map(|time| Instant::now() + time);
            let mut answers = Vec::new();
            let stopped = tokio::select! {
                () = self.closed.cancelled() => return "the hub closed it",
                () = at(self.expiry) => return "the token expired",
                () = at(silence) => return "the client was silent for too long",
                () = at(ending.map(|(_, until)| until)) => return "the hub did not finish in time",
                () = self.out.closed(), if ending.is_none() => Some("the client takes nothing"),
                progress = self.session.progress() => match progress {
                    Ok(packets) => {
                        answers = packets;
                        None
                    }
                    Err(reason) => return reason,
                },
                packet = self.reader.next(), if reading => match packet {
                    Ok(Some(packet)) => self.receive(packet, &mut answers).err(),
                    Ok(None) => Some("the client closed it"),
                    Err(error) => {
                        tracing::debug!(client = %self.session.client().identity, %error, "a connection broke");
                        Some("the connection broke")
                    }
                },
            };
            if let Some(reason) = stopped {
                ending = Some((reason, Instant::now() + DRAIN_TIMEOUT));
            }
            for answer in answers {
                tokio::select! {
                    () = self.closed.cancelled() => return "the hub closed it",
                    // Where nobody takes it, the loop is about to find out.
                    _ = self.out.send(answer) => {}
                }
            }
        }
    }

    /// Takes a packet, and those that were read with it.
    fn receive(&mut self, first: Packet, answers: &mut Vec<Packet>) -> Result<(), Reason> {
        let mut packet = Some(first);
        while let Some(received) = packet {
            answers.extend(self.session.received(received)?);
            packet = match self.session.has_room().then(|| self.reader.buffered()).transpose() {
                Ok(packet) => packet.flatten(),
                Err(error) => {
                    tracing::debug!(client = %self.session.client().identity, %error, "a connection broke");
                    return Err("the connection broke");
                }
            };
        }
        Ok(())
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Writes what comes through the queue, many packets at once where many wait. Ends with the connection, or ends it by
/// dropping the queue.
async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: PacketWriter<W>,
    mut queue: mpsc::Receiver<Packet>,
    closed: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            flushed = timeout(WRITE_TIMEOUT, writer.flush()) => if !matches!(flushed, Ok(Ok(()))) { break },
            () = closed.cancelled() => break,
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
    queue.close();
    finish(&mut writer).await;
}

/// Writes what is left and ends the stream, if the other side is still there to take it.
async fn finish<W: AsyncWrite + Unpin>(writer: &mut PacketWriter<W>) {
    let _ = timeout(CLOSE_TIMEOUT, async {
        writer.flush().await?;
        writer.close().await
    })
    .await;
}
