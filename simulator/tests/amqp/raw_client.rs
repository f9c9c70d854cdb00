//! A client that says what it is told to, frame by frame, over a stream in memory.

use std::sync::Arc;

use bytes::Bytes;
use edgectl_hub::certificate::ClientCertificate;
use edgectl_hub::hand_clock::HandClock;
use edgectl_simulator::amqp::frames::{FrameReader, FrameWriter};
use edgectl_simulator::frontend::amqp::connection::{Hub, serve};
use edgectl_simulator::listen::Certificate;
use edgectl_wire::amqp::attach::{Attach, Detach, ReceiverSettleMode, Role, SenderSettleMode};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader};
use edgectl_wire::amqp::message::{AnnotatedMessage, Body};
use edgectl_wire::amqp::open::Open;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::session::{Begin, Flow};
use edgectl_wire::amqp::terminus::{Source, Target, Terminus};
use edgectl_wire::amqp::transfer::{Disposition, Transfer};
use edgectl_wire::amqp::value::{Map, Value};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use crate::memory_hub::MemoryHub;

pub const EVENTS: &str = "/devices/edge/modules/m/messages/events";
pub const TOKEN: &str = "SharedAccessSignature sr=r&sig=c2ln&se=4102444800";

/// What a client presents in the handshake.
pub fn certificate() -> ClientCertificate {
    ClientCertificate {
        common_name: Some("leaf".to_owned()),
        thumbprints: ["A1".to_owned(), "A256".to_owned()],
        valid_from: 0,
        valid_until: 4_102_444_800,
        is_vouched_for: false,
        chain: edgectl_hub::certificate::Chain::default(),
    }
}

/// The beginning of 2100 less an hour, in milliseconds since the Unix epoch.
const BEGINNING_MS: u64 = (4_102_444_800 - 3600) * 1000;

/// The client's end of a connection.
pub struct RawClient {
    pub reader: FrameReader<ReadHalf<DuplexStream>>,
    pub writer: FrameWriter<WriteHalf<DuplexStream>>,
    pub shutdown: CancellationToken,
    next_handle: u32,
    next_delivery: u32,
}

impl RawClient {
    /// Opens a connection and says nothing; the certificate is that of the handshake.
    pub fn silent(hub: &Arc<MemoryHub>, certificate: Certificate) -> Self {
        let (near, far) = tokio::io::duplex(4 * 1024 * 1024);
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(
            far,
            certificate,
            Hub::of_clients(Arc::clone(hub) as _),
            HandClock::begin_at(BEGINNING_MS),
            shutdown.clone(),
        ));
        let (read, write) = tokio::io::split(near);
        let reader = FrameReader::new(read, 1024 * 1024);
        Self { reader, writer: FrameWriter::new(write), shutdown, next_handle: 0, next_delivery: 0 }
    }

    /// Opens a connection with one session, without the security layer.
    pub async fn connect(hub: &Arc<MemoryHub>) -> Self {
        Self::connect_with(hub, None, open()).await
    }

    pub async fn connect_with(hub: &Arc<MemoryHub>, certificate: Certificate, open: Open) -> Self {
        let mut client = Self::silent(hub, certificate);
        client.open(open).await;
        client.say(Performative::Begin(Box::new(begin()))).await;
        let Performative::Begin(begin) = client.hear().await else { panic!("BEGIN is answered with BEGIN") };
        assert_eq!((begin.remote_channel, begin.handle_max.is_some()), (Some(0), true));
        client
    }

    /// A module whose token was taken.
    pub async fn module(hub: &Arc<MemoryHub>) -> Self {
        let mut client = Self::connect(hub).await;
        assert_eq!(client.put_token("hub/devices/edge/modules/m", TOKEN).await, 200);
        client
    }

    /// Header and OPEN both ways.
    pub async fn open(&mut self, open: Open) -> Open {
        self.writer.put_header(ProtocolHeader::Amqp);
        self.say(Performative::Open(Box::new(open))).await;
        assert_eq!(self.reader.header().await.unwrap(), Some(ProtocolHeader::Amqp));
        match self.hear().await {
            Performative::Open(open) => *open,
            other => panic!("OPEN is answered with {other:?}"),
        }
    }

    /// Sends a performative in the first session.
    pub async fn say(&mut self, performative: Performative) {
        self.writer.put(&Frame::of(0, performative));
        self.writer.flush().await.expect("the stream takes it");
    }

    /// The next frame with something in it; none when the hub has closed the connection.
    pub async fn next(&mut self) -> Option<(Performative, Bytes)> {
        loop {
            match self.reader.next().await.expect("frames") {
                Some(Frame::Amqp { performative, payload, .. }) => return Some((performative, payload)),
                Some(Frame::Empty) => {}
                Some(Frame::Sasl(frame)) => panic!("{frame:?} has no place here"),
                None => return None,
            }
        }
    }

    /// The next performative.
    pub async fn hear(&mut self) -> Performative {
        self.next().await.expect("the connection is open").0
    }

    /// The next performative that is no FLOW.
    pub async fn hear_event(&mut self) -> Performative {
        loop {
            match self.hear().await {
                Performative::Flow(_) => {}
                other => return other,
            }
        }
    }

    /// The next message, put together from its parts.
    pub async fn hear_message(&mut self) -> (Transfer, AnnotatedMessage) {
        let mut whole = Vec::new();
        loop {
            let (performative, payload) = self.next().await.expect("the connection is open");
            let Performative::Transfer(transfer) = performative else {
                assert!(matches!(performative, Performative::Flow(_)), "{performative:?} is no message");
                continue;
            };
            whole.extend_from_slice(&payload);
            if !transfer.more {
                return (transfer, AnnotatedMessage::decode(whole.into()).expect("a message"));
            }
        }
    }

    /// Attaches a link; its handle.
    pub async fn attach(&mut self, role: Role, address: &str) -> u32 {
        let attach = attach(self.next_handle, role, address);
        self.attach_as(attach).await
    }

    /// Attaches a link, and waits until the hub has let it begin.
    pub async fn attach_as(&mut self, attach: Attach) -> u32 {
        let handle = self.ask(attach.clone()).await;
        let answer = match self.hear().await {
            Performative::Attach(answer) => answer,
            other => panic!("ATTACH is answered with {other:?}"),
        };
        assert_ne!(answer.role, attach.role);
        assert_eq!((&answer.name, answer.handle), (&attach.name, handle));
        assert!(answer.source.is_some() && answer.target.is_some());
        if attach.role == Role::Sender {
            let Performative::Flow(flow) = self.hear().await else { panic!("credit is told") };
            assert_eq!((flow.handle, flow.link_credit), (Some(handle), Some(100)));
        }
        handle
    }

    /// Asks for a link.
    pub async fn ask(&mut self, attach: Attach) -> u32 {
        self.next_handle = self.next_handle.max(attach.handle) + 1;
        let handle = attach.handle;
        self.say(Performative::Attach(Box::new(attach))).await;
        handle
    }

    /// Asks for a link that is refused; why.
    pub async fn refused(&mut self, role: Role, address: &str) -> String {
        let handle = self.ask(attach(self.next_handle, role, address)).await;
        let Performative::Attach(answer) = self.hear().await else { panic!("ATTACH comes before DETACH") };
        assert!(answer.source.is_none() || answer.target.is_none());
        let error = self.hear_detach(handle).await;
        // The handle is free when the client has said that it knows.
        self.say(Performative::Detach(Detach { handle, closed: true, error: None })).await;
        error
    }

    /// The hub ends a link; why.
    pub async fn hear_detach(&mut self, handle: u32) -> String {
        match self.hear_event().await {
            Performative::Detach(detach) => {
                assert_eq!((detach.handle, detach.closed), (handle, true));
                detach.error.expect("a reason").condition.to_string()
            }
            other => panic!("{other:?} is no DETACH"),
        }
    }

    /// Gives credit.
    pub async fn credit(&mut self, handle: u32, delivery_count: u32, credit: u32) {
        self.flow(Flow {
            handle: Some(handle),
            delivery_count: Some(delivery_count),
            link_credit: Some(credit),
            ..flow()
        })
        .await;
    }

    pub async fn flow(&mut self, flow: Flow) {
        self.say(Performative::Flow(flow)).await;
    }

    /// Sends a message, in parts that are no larger than a frame may be; its number.
    pub async fn send(&mut self, handle: u32, message: &AnnotatedMessage) -> u32 {
        self.send_in_parts(handle, message, 60_000).await
    }

    pub async fn send_in_parts(&mut self, handle: u32, message: &AnnotatedMessage, bytes: usize) -> u32 {
        let mut rest = message.to_bytes();
        while rest.len() > bytes {
            let part = rest.split_to(bytes);
            self.send_as(Transfer { handle, more: true, ..Transfer::default() }, part).await;
        }
        self.send_as(Transfer { handle, ..Transfer::default() }, rest).await
    }

    pub async fn send_as(&mut self, transfer: Transfer, payload: Bytes) -> u32 {
        let id = self.next_delivery;
        if !transfer.more {
            self.next_delivery += 1;
        }
        let tag = Some(Bytes::copy_from_slice(&id.to_be_bytes()));
        let performative = Performative::Transfer(Transfer { delivery_id: Some(id), delivery_tag: tag, ..transfer });
        self.writer.put(&Frame::Amqp { channel: 0, performative, payload });
        self.writer.flush().await.expect("the stream takes it");
        id
    }

    /// Waits until deliveries up to a number are settled; how.
    pub async fn settled(&mut self, until: u32) -> Vec<(u32, DeliveryState)> {
        let mut settled = Vec::new();
        loop {
            let Performative::Disposition(disposition) = self.hear_event().await else {
                panic!("deliveries are settled")
            };
            assert_eq!((disposition.role, disposition.settled), (Role::Receiver, true));
            let last = disposition.last.expect("a last delivery");
            let state = disposition.state.expect("a state");
            settled.extend((disposition.first..=last).map(|id| (id, state.clone())));
            if last >= until {
                return settled;
            }
        }
    }

    /// Says what became of a delivery.
    pub async fn settle(&mut self, id: u32, state: DeliveryState) {
        self.say(Performative::Disposition(Disposition {
            role: Role::Receiver,
            first: id,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        }))
        .await;
    }

    /// Puts a token on links of its own; the status of the answer.
    pub async fn put_token(&mut self, audience: &str, token: &str) -> i64 {
        let sender = self.attach(Role::Sender, "$cbs").await;
        let receiver = self.attach(Role::Receiver, "$cbs").await;
        self.credit(receiver, 0, 10).await;
        let request = put_token(audience, token, MessageId::Ulong(7));
        let id = self.send(sender, &request).await;
        assert_eq!(self.settled(id).await, [(id, DeliveryState::Accepted)]);
        let (transfer, answer) = self.hear_message().await;
        assert_eq!((transfer.handle, transfer.settled), (receiver, Some(true)));
        assert_eq!(answer.properties.correlation_id, Some(MessageId::Ulong(7)));
        for handle in [sender, receiver] {
            self.detach(handle).await;
        }
        answer.application_properties.get("status-code").and_then(Value::as_integer).expect("a status")
    }

    /// Says that it is there.
    pub async fn keep_alive(&mut self) {
        self.writer.put(&Frame::Empty);
        self.writer.flush().await.expect("the stream takes it");
    }

    /// Ends a link.
    pub async fn detach(&mut self, handle: u32) {
        self.say(Performative::Detach(Detach { handle, closed: true, error: None })).await;
        let Performative::Detach(answer) = self.hear_event().await else { panic!("DETACH is answered with DETACH") };
        assert_eq!((answer.handle, answer.error), (handle, None));
    }
}

pub fn open() -> Open {
    Open {
        container_id: "test".to_owned(),
        hostname: Some("hub".to_owned()),
        max_frame_size: None,
        channel_max: None,
        idle_time_out: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Map::new(),
    }
}

pub fn begin() -> Begin {
    Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: 2048,
        outgoing_window: u32::MAX,
        handle_max: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Map::new(),
    }
}

/// A FLOW of the session alone: the client has room for all that comes.
pub fn flow() -> Flow {
    Flow { next_incoming_id: Some(0), incoming_window: 100_000, outgoing_window: u32::MAX, ..Flow::default() }
}

pub fn attach(handle: u32, role: Role, address: &str) -> Attach {
    let (source, target) = match role {
        Role::Sender => (Terminus::default(), Terminus::at(address)),
        Role::Receiver => (Terminus::at(address), Terminus::default()),
    };
    Attach {
        name: format!("link {handle}"),
        handle,
        role,
        sender_settle_mode: SenderSettleMode::Mixed,
        receiver_settle_mode: ReceiverSettleMode::First,
        source: Some(Source { terminus: source, ..Source::default() }),
        target: Some(Target { terminus: target }),
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Map::new(),
    }
}

/// A request that puts a token.
pub fn put_token(audience: &str, token: &str, id: MessageId) -> AnnotatedMessage {
    let mut request = AnnotatedMessage { body: Body::Value(token.into()), ..AnnotatedMessage::default() };
    request.properties.message_id = Some(id);
    for (name, value) in [("operation", "put-token"), ("type", "servicebus.windows.net:sastoken"), ("name", audience)] {
        request.application_properties.put_text(name, value.into());
    }
    request
}

/// What a message says.
pub fn text(message: &AnnotatedMessage) -> String {
    match &message.body {
        Body::Data(sections) => String::from_utf8(sections.concat()).expect("text"),
        other => panic!("{other:?} is no data"),
    }
}
