//! The task behind a [`DeviceClient`](super::device_client::DeviceClient): one connection after the other.

use std::time::Duration;

use edgectl_hub::gateway::{Destination, Feature};
use edgectl_hub::message::Message;
use edgectl_hub::method::MethodRequest;
use edgectl_wire::mqtt::connect::{Connect, ConnectReturnCode, PROTOCOL_LEVEL};
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::{Subscribe, Unsubscribe};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::device_client::{ClientError, ClientEvent, ClientOptions, IncomingDelivery, Request, Status};
use super::pending::{Pending, TwinRequest};
use super::token::now_seconds;
use crate::mqtt::packets::{PacketReader, PacketWriter};
use crate::mqtt::topic::{self, Sent};
use crate::mqtt::{property_bag, username};

/// For the whole way from the first byte to CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Waits between tries grow from the first to the last of these.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(10)];
/// A new token is taken this long before the old one ends.
const RENEWAL_SECONDS: u64 = 120;
/// Answers to methods and acknowledgements that wait for the connection.
const OUT_QUEUE: usize = 64;
/// A packet from a hub: its largest message, and the topic.
const MAX_PACKET_BYTES: usize = 262_144 + 64 * 1024 + 16;
/// How long a hub may take over a message of ours before the connection is taken for dead.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

type Reader = PacketReader<ReadHalf<TlsStream<TcpStream>>>;
type Writer = PacketWriter<WriteHalf<TlsStream<TcpStream>>>;

/// How one connection ended.
enum End {
    Lost(String),
    Renewal,
    Closed,
}

/// Why a connection did not come about.
enum Failure {
    Unauthorized(String),
    Other(String),
}

/// Runs until the owner closes the client, or the hub refuses it for good.
pub(super) async fn run(
    options: ClientOptions,
    mut requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<ClientEvent>,
    status: watch::Sender<Status>,
) {
    let mut pending = Pending::default();
    let mut delay = RETRY_DELAYS[0];
    loop {
        match connect(&options).await {
            Ok((reader, writer, session_present, expires_at)) => {
                delay = RETRY_DELAYS[0];
                status.send_replace(Status::Connected);
                // The owner may have stopped listening; it is told when it asks for something.
                let _ = events.send(ClientEvent::Connected { session_present }).await;
                let mut session = Session { options: &options, pending: &mut pending, events: &events };
                let end = session.run(reader, writer, &mut requests, session_present, expires_at).await;
                pending.disconnected();
                match end {
                    End::Closed => break,
                    End::Renewal => continue,
                    End::Lost(reason) => {
                        status.send_replace(Status::Disconnected);
                        let _ = events.send(ClientEvent::Disconnected { reason }).await;
                    }
                }
            }
            Err(Failure::Unauthorized(reason)) => {
                status.send_replace(Status::Unauthorized(reason.clone()));
                let _ = events.send(ClientEvent::Unauthorized { reason }).await;
                break;
            }
            Err(Failure::Other(reason)) => {
                tracing::debug!(identity = %options.identity, reason, "not connected");
            }
        }
        if wait_offline(&mut requests, &mut pending, delay).await.is_err() {
            break;
        }
        delay = (delay * 2).min(RETRY_DELAYS[1]);
    }
    pending.close();
}

/// Serves requests without a connection for a while. An error means that the client was closed.
async fn wait_offline(
    requests: &mut mpsc::Receiver<Request>,
    pending: &mut Pending,
    delay: Duration,
) -> Result<(), ()> {
    let until = Instant::now() + delay;
    loop {
        let request = tokio::select! {
            () = sleep_until(until) => return Ok(()),
            request = requests.recv() => request.ok_or(())?,
        };
        match request {
            Request::Send { message, done } => pending.add_message(message, done),
            // These answer to a connection, and there is none.
            Request::Twin { answer } => drop(answer.send(Err(ClientError::Offline))),
            Request::Report { answer, .. } => drop(answer.send(Err(ClientError::Offline))),
            Request::Subscribe { feature, wanted, done } => {
                remember(pending, feature, wanted);
                let _ = done.send(Ok(()));
            }
            Request::Close { done } => {
                let _ = done.send(());
                return Err(());
            }
        }
    }
}

fn remember(pending: &mut Pending, feature: Feature, wanted: bool) {
    if wanted {
        pending.features.insert(feature);
    } else {
        pending.features.remove(&feature);
    }
}

async fn connect(options: &ClientOptions) -> Result<(Reader, Writer, bool, u64), Failure> {
    let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let token = options.tokens.token().await.map_err(|error| other(&error))?;
    let opened = timeout(CONNECT_TIMEOUT, async {
        let stream = TcpStream::connect(options.address).await.map_err(|error| other(&error))?;
        stream.set_nodelay(true).map_err(|error| other(&error))?;
        let connector = TlsConnector::from(options.tls.clone());
        let stream = connector.connect(options.server_name.clone(), stream).await.map_err(|error| other(&error))?;
        let (read, write) = tokio::io::split(stream);
        let (mut reader, mut writer) = (PacketReader::new(read, MAX_PACKET_BYTES), PacketWriter::new(write));
        let chain = options.auth_chain.as_deref();
        writer.put(&Packet::Connect(Box::new(Connect {
            protocol_level: PROTOCOL_LEVEL,
            clean_session: false,
            keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: options.identity.to_string(),
            will: None,
            username: Some(username::format(&options.hub_host, &options.identity, &options.product, chain)),
            password: Some(token.text.clone().into()),
        })));
        writer.flush().await.map_err(|error| other(&error))?;
        let answer = reader.next().await.map_err(|error| other(&error))?;
        Ok((reader, writer, answer))
    });
    let (reader, writer, answer) = opened.await.map_err(|_| Failure::Other("no answer in time".to_owned()))??;
    match answer {
        Some(Packet::ConnAck(answer)) => match answer.code {
            ConnectReturnCode::Accepted => Ok((reader, writer, answer.session_present, token.expires_at)),
            ConnectReturnCode::ServerUnavailable => Err(Failure::Other("the hub cannot serve now".to_owned())),
            code => Err(Failure::Unauthorized(format!("the hub refuses {} ({code:?})", options.identity))),
        },
        _ => Err(Failure::Other("the hub closed the connection".to_owned())),
    }
}

/// One connection, from CONNACK to its end.
struct Session<'a> {
    options: &'a ClientOptions,
    pending: &'a mut Pending,
    events: &'a mpsc::Sender<ClientEvent>,
}

impl Session<'_> {
    async fn run<R, W>(
        &mut self,
        mut reader: PacketReader<R>,
        mut writer: PacketWriter<W>,
        requests: &mut mpsc::Receiver<Request>,
        session_present: bool,
        expires_at: u64,
    ) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (out, mut queue) = mpsc::channel(OUT_QUEUE);
        self.resume(&mut writer, session_present);
        let renewal = Instant::now()
            + Duration::from_secs(expires_at.saturating_sub(now_seconds()).saturating_sub(RENEWAL_SECONDS).max(1));
        let mut last_sent = Instant::now();
        let mut last_heard = Instant::now();
        loop {
            for packet in self.pending.next_publishes(&self.options.identity) {
                writer.put(&packet);
            }
            match timeout(RESPONSE_TIMEOUT, writer.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return End::Lost(error.to_string()),
                Err(_) => return End::Lost("the hub takes nothing".to_owned()),
            }
            tokio::select! {
                packet = reader.next() => {
                    last_heard = Instant::now();
                    match packet {
                        Ok(Some(packet)) => if let Err(reason) = self.received(packet, &out).await {
                            return End::Lost(reason);
                        },
                        Ok(None) => return End::Lost("the hub closed the connection".to_owned()),
                        Err(error) => return End::Lost(error.to_string()),
                    }
                }
                Some(packet) = queue.recv() => writer.put(&packet),
                request = requests.recv() => {
                    last_sent = Instant::now();
                    if let Some(done) = self.requested(request, &mut writer) {
                        leave(&mut writer).await;
                        if let Some(done) = done {
                            // Nobody may wait any more.
                            let _ = done.send(());
                        }
                        return End::Closed;
                    }
                }
                () = sleep_until(last_sent + self.options.keep_alive) => {
                    if last_heard.elapsed() > self.options.keep_alive * 2 {
                        return End::Lost("the hub is silent".to_owned());
                    }
                    last_sent = Instant::now();
                    writer.put(&Packet::PingReq);
                }
                () = sleep_until(renewal) => {
                    leave(&mut writer).await;
                    return End::Renewal;
                }
            }
        }
    }

    /// Subscribes again where the hub has forgotten, and repeats what it has not acknowledged.
    fn resume<W: AsyncWrite + Unpin>(&mut self, writer: &mut PacketWriter<W>, session_present: bool) {
        if !session_present {
            let id = self.pending.add_subscription(None);
            writer.put(&subscribe(id, topic::TWIN_ANSWERS.to_owned()));
        }
        // Also with a session: what was asked for without a connection is not in it yet.
        for feature in self.pending.features.clone() {
            let id = self.pending.add_subscription(None);
            writer.put(&subscribe(id, topic::filter_of(feature, &self.options.identity)));
        }
        for packet in self.pending.repeated() {
            writer.put(&packet);
        }
    }

    /// Does what the owner asks. Some if it is to end, with whom to tell.
    #[expect(clippy::option_option, reason = "to end with nobody to tell is not the same as to go on")]
    fn requested<W: AsyncWrite + Unpin>(
        &mut self,
        request: Option<Request>,
        writer: &mut PacketWriter<W>,
    ) -> Option<Option<oneshot::Sender<()>>> {
        match request {
            Some(Request::Send { message, done }) => self.pending.add_message(message, done),
            Some(Request::Twin { answer }) => {
                let id = self.pending.add_twin(TwinRequest::Get(answer));
                writer.put(&unacknowledged(topic::get_twin(&id), b" "[..].into()));
            }
            Some(Request::Report { patch, answer }) => {
                let id = self.pending.add_twin(TwinRequest::Report(answer));
                writer.put(&unacknowledged(topic::report(&id), patch.to_string().into()));
            }
            Some(Request::Subscribe { feature, wanted, done }) => {
                remember(self.pending, feature, wanted);
                let id = self.pending.add_subscription(Some(done));
                let filter = topic::filter_of(feature, &self.options.identity);
                writer.put(&if wanted {
                    subscribe(id, filter)
                } else {
                    Packet::Unsubscribe(Unsubscribe { id, filters: vec![filter] })
                });
            }
            Some(Request::Close { done }) => return Some(Some(done)),
            // All handles are gone.
            None => return Some(None),
        }
        None
    }

    async fn received(&mut self, packet: Packet, out: &mpsc::Sender<Packet>) -> Result<(), String> {
        match packet {
            Packet::PubAck(id) => self.pending.acknowledged(id),
            Packet::SubAck(answer) => self.pending.subscribed(answer.id),
            Packet::UnsubAck(id) => self.pending.subscribed(id),
            Packet::PingResp => {}
            Packet::Publish(publish) => self.published(publish, out).await,
            _ => return Err("the hub sent what a hub may not send".to_owned()),
        }
        Ok(())
    }

    async fn published(&mut self, publish: Publish, out: &mpsc::Sender<Packet>) {
        let (acknowledgement, redelivered) = match publish.delivery {
            Delivery::AtLeastOnce { id, duplicate } => (Some(id), duplicate),
            Delivery::AtMostOnce | Delivery::ExactlyOnce { .. } => (None, false),
        };
        let event = match Sent::parse(&publish.topic, &self.options.identity) {
            Some(Sent::TwinAnswer { status, request_id, version }) => {
                self.pending.twin_answered(&request_id, status, version, &publish.payload);
                None
            }
            Some(Sent::Desired) => serde_json::from_slice(&publish.payload).ok().map(ClientEvent::Desired),
            Some(Sent::Method { name, request_id }) => Some(method(name, &request_id, publish, out.clone())),
            Some(Sent::Input { input, bag }) => {
                let delivery = delivery(Destination::Input(input), &bag, publish, redelivered);
                Some(with_acknowledgement(delivery, acknowledgement, out.clone()))
            }
            Some(Sent::CloudToDevice { bag }) => {
                let delivery = delivery(Destination::CloudToDevice, &bag, publish, redelivered);
                Some(with_acknowledgement(delivery, acknowledgement, out.clone()))
            }
            None => {
                tracing::warn!(topic = publish.topic, "the hub sent to a topic that means nothing");
                None
            }
        };
        if let Some(event) = event {
            // An owner that listens no more gets no acknowledgement made in its name.
            let _ = self.events.send(event).await;
        }
    }
}

fn delivery(destination: Destination, bag: &str, publish: Publish, redelivered: bool) -> IncomingDelivery {
    let mut message = Message::new(publish.payload);
    property_bag::read(bag, &mut message);
    IncomingDelivery { destination, message, redelivered, acknowledge: None }
}

/// Sends PUBACK when the owner settles the delivery.
fn with_acknowledgement(
    mut delivery: IncomingDelivery,
    id: Option<PacketId>,
    out: mpsc::Sender<Packet>,
) -> ClientEvent {
    if let Some(id) = id {
        let (acknowledge, settled) = oneshot::channel();
        delivery.acknowledge = Some(acknowledge);
        tokio::spawn(async move {
            if settled.await.is_ok() {
                // A connection that is gone cannot be told; the message comes again.
                let _ = out.send(Packet::PubAck(id)).await;
            }
        });
    }
    ClientEvent::Delivery(delivery)
}

/// Sends the owner's answer when it has one.
fn method(name: String, request_id: &str, publish: Publish, out: mpsc::Sender<Packet>) -> ClientEvent {
    let (respond, answer) = oneshot::channel();
    let request_id = request_id.to_owned();
    tokio::spawn(async move {
        if let Ok(edgectl_hub::method::MethodResponse { status, payload }) = answer.await {
            // A caller behind a connection that is gone has given up.
            let _ = out.send(unacknowledged(topic::method_response(status, &request_id), payload)).await;
        }
    });
    let request = MethodRequest {
        name,
        payload: publish.payload,
        // The hub keeps the time.
        response_timeout: Duration::MAX,
        connect_timeout: Duration::ZERO,
    };
    ClientEvent::Method { request, respond }
}

async fn leave<W: AsyncWrite + Unpin>(writer: &mut PacketWriter<W>) {
    writer.put(&Packet::Disconnect);
    // The hub may be gone; then there is nobody to say good-bye to.
    let _ = timeout(Duration::from_secs(1), async {
        writer.flush().await?;
        writer.close().await
    })
    .await;
}

fn subscribe(id: PacketId, filter: String) -> Packet {
    Packet::Subscribe(Subscribe { id, filters: vec![(filter, QualityOfService::AtLeastOnce)] })
}

fn unacknowledged(topic: String, payload: bytes::Bytes) -> Packet {
    Packet::Publish(Publish { topic, payload, delivery: Delivery::AtMostOnce, retain: false })
}
