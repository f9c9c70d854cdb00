//! One MQTT connection: lets the client in, then moves packets both ways until either side ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::{Alarm, Clock, within};
use edgectl_hub::gateway::{Client, Gateway, SessionKind};
use edgectl_hub::message::MAX_MESSAGE_BYTES;
use edgectl_schemas::sas::CLOCK_SKEW_SECONDS;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admission::admit;
use super::link::MqttLink;
use super::outbox::Outbox;
use super::provisioning;
use super::refusal::connect_code;
use super::session::{Reason, Session};
use super::stream::{Exchange, PacketStream};
use crate::listen::Certificate;

/// A client must say who it is within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_mins(1);
/// A longer keep-alive is taken for this one.
const MAX_KEEP_ALIVE: Duration = Duration::from_mins(10);
/// A packet: the largest message, and its topic with all properties encoded.
const MAX_PACKET_BYTES: usize = MAX_MESSAGE_BYTES + 64 * 1024 + 16;
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
    let mut stream = PacketStream::new(stream, MAX_PACKET_BYTES);
    let first = tokio::select! {
        () = shutdown.cancelled() => return,
        first = within(clock.as_ref(), CONNECT_TIMEOUT, stream.next()) => first,
    };
    // Whatever else comes first, or nothing at all, ends the connection without a word (3.1 of the standard).
    let Some(Ok(Some(Packet::Connect(connect)))) = first else { return };
    if let Some(applicant) = provisioning::applicant(&connect, &certificate) {
        provisioning::serve(&mut stream, applicant, &gateway, clock.as_ref(), &shutdown).await;
        within(clock.as_ref(), CLOSE_TIMEOUT, stream.close()).await;
        return;
    }
    match admit(&connect, certificate, gateway.as_ref()).await {
        Ok(client) => {
            let closed = shutdown.child_token();
            run(&mut stream, &connect, client, gateway, Arc::clone(&clock), closed).await;
        }
        Err(code) => refuse(&mut stream, code),
    }
    // Writes what is left and ends the stream, if the other side is still there to take it.
    within(clock.as_ref(), CLOSE_TIMEOUT, stream.close()).await;
}

fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut PacketStream<S>, code: ConnectReturnCode) {
    stream.put(&Packet::ConnAck(ConnAck { session_present: false, code }));
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut PacketStream<S>,
    connect: &Connect,
    client: Client,
    gateway: Arc<dyn Gateway>,
    clock: Arc<dyn Clock>,
    closed: CancellationToken,
) {
    let outbox = Arc::new(Outbox::default());
    let link = MqttLink::new(client.identity.clone(), Arc::clone(&outbox), closed.clone());
    let kind = if connect.clean_session { SessionKind::Clean } else { SessionKind::Persistent };
    let attachment = match gateway.attach(&client, kind, Arc::clone(&link) as _).await {
        Ok(attachment) => attachment,
        Err(refusal) => {
            tracing::warn!(client = %client.identity, %refusal, "a connection was refused");
            return refuse(stream, connect_code(&refusal));
        }
    };
    // The answer goes before anything that the hub sends already.
    let accepted = ConnAck { session_present: attachment.session_present, code: ConnectReturnCode::Accepted };
    stream.put(&Packet::ConnAck(accepted));
    let times = Times {
        keep_alive: keep_alive(connect),
        heard: clock.now(),
        expiry: client.expires_at.and_then(|at| clock.instant_of(at.saturating_add(CLOCK_SKEW_SECONDS))),
        stalled: None,
        ending: None,
    };
    let session = Session::new(gateway, attachment, Arc::clone(&link), Arc::clone(&clock));
    let mut conversation = Conversation { stream, session, outbox, closed, times, clock, reason: None };
    let reason = conversation.run().await;
    let Conversation { session, outbox, closed, .. } = conversation;
    tracing::debug!(client = %session.client().identity, reason, "a connection ended");
    closed.cancel();
    link.end();
    session.end().await;
    stream.put_bytes(outbox.take());
}

/// Half as long again as the client promised to be heard of; none if it promised nothing.
fn keep_alive(connect: &Connect) -> Option<Duration> {
    let promised = Duration::from_secs(connect.keep_alive.into());
    (!promised.is_zero()).then(|| promised.min(MAX_KEEP_ALIVE).mul_f64(1.5))
}

/// When a connection ends for want of something.
struct Times {
    keep_alive: Option<Duration>,
    /// When the client was heard of, or might first have been.
    heard: Instant,
    /// When its proof of identity is over; none if that is too far away to be counted.
    expiry: Option<Instant>,
    /// Since when it has taken nothing of what waits for it.
    stalled: Option<Instant>,
    /// When the hub must be done with what the client asked before it left.
    ending: Option<Instant>,
}

impl Times {
    /// The next time at which the connection ends, and why.
    fn next(&self) -> Option<(Instant, Reason)> {
        let after = |since: Option<Instant>, time| since.map(|since| since + time);
        let silence = self.keep_alive.filter(|_| self.ending.is_none()).map(|time| self.heard + time);
        [
            self.expiry.map(|at| (at, "the token expired")),
            silence.map(|at| (at, "the client was silent for too long")),
            after(self.stalled, WRITE_TIMEOUT).map(|at| (at, "the client takes nothing")),
            after(self.ending, DRAIN_TIMEOUT).map(|at| (at, "the hub did not finish in time")),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }
}

/// A connection between CONNACK and its end.
struct Conversation<'a, S> {
    stream: &'a mut PacketStream<S>,
    session: Session,
    outbox: Arc<Outbox>,
    closed: CancellationToken,
    times: Times,
    clock: Arc<dyn Clock>,
    /// Why the client is read no more.
    reason: Option<Reason>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<'_, S> {
    /// Reads on while the hub works, until the client leaves or may not go on, and what it asked before is done.
    async fn run(&mut self) -> Reason {
        let mut alarm = Alarm::new(Arc::clone(&self.clock));
        loop {
            if let Err(reason) = self.receive() {
                self.end(reason);
            }
            if let Some(reason) = self.reason
                && self.session.is_idle()
            {
                return reason;
            }
            self.stream.put_bytes(self.outbox.take());
            let reading = self.reason.is_none() && self.session.has_room();
            if !reading {
                // Who is not listened to is not silent.
                self.times.heard = self.clock.now();
            }
            let next = self.times.next();
            let waiting = self.stream.unwritten();
            tokio::select! {
                // All that came goes to the hub together. Who always sends does not keep the rest from its turn: there is
                // room for so much, and the runtime lets nothing be ready for ever.
                biased;
                exchange = self.stream.exchange(reading) => self.exchanged(exchange),
                progress = self.session.progress() => match progress {
                    Ok(answers) => self.outbox.put(&answers),
                    Err(reason) => return reason,
                },
                () = self.closed.cancelled() => return "the hub closed it",
                () = self.outbox.filled(), if waiting == 0 => {}
                reason = alarm.wait(next) => return reason,
            }
            let stuck = self.stream.unwritten() > 0 && self.stream.unwritten() == waiting;
            self.times.stalled = stuck.then(|| self.times.stalled.unwrap_or_else(|| self.clock.now()));
        }
    }

    /// Takes the packets that were read, as far as there is room for them.
    fn receive(&mut self) -> Result<(), Reason> {
        while self.reason.is_none() && self.session.has_room() {
            let packet = self.stream.buffered().map_err(|error| self.broken(&error))?;
            let Some(packet) = packet else { break };
            if let Some(answer) = self.session.received(packet)? {
                self.outbox.put([&answer]);
            }
        }
        Ok(())
    }

    fn exchanged(&mut self, exchange: io::Result<Exchange>) {
        match exchange {
            Ok(Exchange::Read) => self.times.heard = self.clock.now(),
            Ok(Exchange::Written) => {}
            Ok(Exchange::Ended) => self.end("the client closed it"),
            Err(error) => {
                let reason = self.broken(&error);
                self.end(reason);
            }
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> Reason {
        tracing::debug!(client = %self.session.client().identity, %error, "a connection broke");
        "the connection broke"
    }

    /// Reads no more; the connection ends when the hub is done with what was read.
    fn end(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
        self.times.ending.get_or_insert_with(|| self.clock.now());
    }
}
