//! One connection of a client, from CONNACK to its end.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::{Alarm, Clock, within};
use edgectl_hub::gateway::{Destination, Feature};
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::Publish;
use edgectl_wire::mqtt::subscribe::{Subscribe, Unsubscribe};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connection::Channels;
use super::device_client::{ClientEvent, ClientOptions, Request};
use super::handshake::{Connected, leave};
use super::incoming::{delivery, method, unacknowledged};
use super::pending::{Done, Pending, TwinRequest};
use crate::mqtt::packets::{PacketReader, PacketWriter};
use crate::mqtt::topic::{self, Sent};

/// A new token is taken this long before the old one ends, or when a fifth of its time is left, if that is less.
const RENEWAL_SECONDS: u64 = 120;
/// A token that holds longer is renewed all the same.
const LONGEST_RENEWAL_SECONDS: u64 = 30 * 24 * 3600;
/// Answers to methods and acknowledgements that wait for the connection.
const OUT_QUEUE: usize = 64;
/// A hub that does not take what it is sent for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a connection ended.
pub(super) enum End {
    /// It broke.
    Lost(String),
    /// The token is about to end; the next connection has a new one.
    Renewal,
    /// The owner closed the client.
    Closed,
}

/// A connection in use.
pub(super) struct Session<'a> {
    options: &'a ClientOptions,
    pending: &'a mut Pending,
    channels: &'a mut Channels,
    /// Whether the hub goes on with an earlier session.
    resumed: bool,
    clock: Arc<dyn Clock>,
    renewal: Instant,
    out: mpsc::Sender<Packet>,
    queue: mpsc::Receiver<Packet>,
}

impl<'a> Session<'a> {
    /// Uses a connection that the hub has accepted.
    pub fn new(
        options: &'a ClientOptions,
        pending: &'a mut Pending,
        channels: &'a mut Channels,
        connected: &Connected,
    ) -> Self {
        let (out, queue) = mpsc::channel(OUT_QUEUE);
        let clock = Arc::clone(options.link.clock());
        let renewal = clock.now() + time_to_renewal(connected.expires_at.saturating_sub(clock.now_seconds()));
        Self { options, pending, channels, resumed: connected.session_present, clock, renewal, out, queue }
    }

    /// Moves packets until the connection ends.
    pub async fn run(&mut self, connected: Connected) -> End {
        let Connected { mut reader, mut writer, .. } = connected;
        self.resume(&mut writer);
        let keep_alive = self.options.keep_alive;
        let mut last_heard = self.clock.now();
        let mut next_ping = last_heard + keep_alive;
        let (mut ping, mut renewal) = (Alarm::new(Arc::clone(&self.clock)), Alarm::new(Arc::clone(&self.clock)));
        loop {
            self.put_messages(&mut writer);
            match within(self.clock.as_ref(), WRITE_TIMEOUT, writer.flush()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return End::Lost(error.to_string()),
                None => return End::Lost("the hub takes nothing".to_owned()),
            }
            let ended = tokio::select! {
                packet = reader.next() => {
                    last_heard = self.clock.now();
                    match packet {
                        Ok(Some(packet)) => self.receive(packet, &mut reader).await,
                        Ok(None) => Some(End::Lost("the hub closed the connection".to_owned())),
                        Err(error) => Some(End::Lost(error.to_string())),
                    }
                }
                Some(packet) = self.queue.recv() => {
                    writer.put(&packet);
                    None
                }
                Some(outgoing) = self.channels.messages.recv(), if self.pending.has_room() => {
                    writer.put_all(self.pending.add_message(outgoing, &self.options.identity));
                    None
                }
                request = self.channels.requests.recv() => self.requested(request, &mut writer).await,
                () = ping.wait(Some((next_ping, ()))) => {
                    let now = self.clock.now();
                    next_ping = now + keep_alive;
                    writer.put(&Packet::PingReq);
                    (now - last_heard > keep_alive * 2).then(|| End::Lost("the hub is silent".to_owned()))
                }
                // Who waits for an answer about the twin gets it first: it belongs to this connection.
                () = renewal.wait(Some((self.renewal, ()))), if !self.pending.waits_for_twin() => {
                    leave(&mut writer, self.clock.as_ref()).await;
                    Some(End::Renewal)
                }
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    /// Subscribes again where the hub has forgotten, and repeats what it has not acknowledged.
    fn resume<W: AsyncWrite + Unpin>(&mut self, writer: &mut PacketWriter<W>) {
        if !self.resumed {
            let id = self.pending.add_subscription(None);
            writer.put(&subscribe(id, topic::TWIN_ANSWERS.to_owned()));
        }
        // Also with a session: what was asked for without a connection is not in it yet.
        for (feature, wanted) in self.pending.features() {
            writer.put(&self.change(feature, wanted, None));
        }
        writer.put_all(self.pending.repeated());
    }

    /// Puts the messages that wait, as far as the window has room.
    fn put_messages<W: AsyncWrite + Unpin>(&mut self, writer: &mut PacketWriter<W>) {
        while self.pending.has_room()
            && let Ok(outgoing) = self.channels.messages.try_recv()
        {
            writer.put_all(self.pending.add_message(outgoing, &self.options.identity));
        }
    }

    /// Does what the owner asks.
    async fn requested<W>(&mut self, request: Option<Request>, writer: &mut PacketWriter<W>) -> Option<End>
    where
        W: AsyncWrite + Unpin,
    {
        match request {
            Some(Request::Twin { answer }) => {
                let id = self.pending.add_twin(TwinRequest::Get(answer));
                // A space, as the SDKs send it.
                writer.put(&unacknowledged(topic::get_twin(&id), b" "[..].into()));
            }
            Some(Request::Report { patch, answer }) => {
                let id = self.pending.add_twin(TwinRequest::Report(answer));
                writer.put(&unacknowledged(topic::report(&id), patch.to_string().into()));
            }
            Some(Request::Subscribe { feature, wanted, done }) => {
                self.pending.remember(feature, wanted);
                writer.put(&self.change(feature, wanted, Some(done)));
            }
            Some(Request::Close { done }) => return Some(self.close(writer, Some(done)).await),
            // All handles are gone.
            None => return Some(self.close(writer, None).await),
        }
        None
    }

    /// Tells the hub whether a feature is wanted; who asked is told when the hub has answered.
    fn change(&mut self, feature: Feature, wanted: bool, done: Option<Done<()>>) -> Packet {
        let id = self.pending.add_subscription(done);
        let filter = topic::filter_of(feature, &self.options.identity);
        if wanted { subscribe(id, filter) } else { Packet::Unsubscribe(Unsubscribe { id, filters: vec![filter] }) }
    }

    async fn close<W>(&mut self, writer: &mut PacketWriter<W>, done: Option<oneshot::Sender<()>>) -> End
    where
        W: AsyncWrite + Unpin,
    {
        self.put_messages(writer);
        leave(writer, self.clock.as_ref()).await;
        // Nobody may wait any more.
        let _ = done.map(|done| done.send(()));
        End::Closed
    }

    /// Takes a packet, and those that were read with it.
    async fn receive<R>(&mut self, first: Packet, reader: &mut PacketReader<R>) -> Option<End>
    where
        R: AsyncRead + Unpin,
    {
        let mut packet = Some(first);
        while let Some(received) = packet {
            match received {
                Packet::PubAck(id) => self.pending.acknowledged(id),
                Packet::SubAck(answer) => self.pending.subscribed(answer.id),
                Packet::UnsubAck(id) => self.pending.subscribed(id),
                Packet::PingResp => {}
                Packet::Publish(publish) => self.published(publish).await,
                _ => return Some(End::Lost("the hub sent what a hub may not send".to_owned())),
            }
            packet = match reader.buffered() {
                Ok(packet) => packet,
                Err(error) => return Some(End::Lost(error.to_string())),
            };
        }
        None
    }

    async fn published(&mut self, publish: Publish) {
        let event = match Sent::parse(&publish.topic, &self.options.identity) {
            Some(Sent::TwinAnswer { status, request_id, version }) => {
                self.pending.twin_answered(&request_id, status, version, &publish.payload);
                None
            }
            Some(Sent::Desired) => serde_json::from_slice(&publish.payload).ok().map(ClientEvent::Desired),
            Some(Sent::Method { name, request_id }) => Some(method(name, request_id, publish, self.out.clone())),
            Some(Sent::Input { input, bag }) => {
                Some(delivery(Destination::Input(input.into()), &bag, publish, &self.out))
            }
            Some(Sent::CloudToDevice { bag }) => Some(delivery(Destination::CloudToDevice, &bag, publish, &self.out)),
            None => {
                tracing::warn!(topic = publish.topic, "the hub sent to a topic that means nothing");
                None
            }
        };
        if let Some(event) = event {
            // An owner that listens no more gets no acknowledgement made in its name.
            let _ = self.channels.events.send(event).await;
        }
    }
}

/// How long a token is used that holds for so many seconds.
fn time_to_renewal(left: u64) -> Duration {
    let left = left.min(LONGEST_RENEWAL_SECONDS);
    Duration::from_secs((left - RENEWAL_SECONDS.min(left / 5)).max(1))
}

fn subscribe(id: PacketId, filter: String) -> Packet {
    Packet::Subscribe(Subscribe { id, filters: vec![(filter, QualityOfService::AtLeastOnce)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_end() {
        for (left, used) in [(3600, 3480), (60, 48), (0, 1), (u64::MAX, LONGEST_RENEWAL_SECONDS - RENEWAL_SECONDS)] {
            assert_eq!(time_to_renewal(left), Duration::from_secs(used), "{left}");
        }
    }
}
