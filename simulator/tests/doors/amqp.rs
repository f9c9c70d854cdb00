//! As much of a client of AMQP as it takes to send a message.

use bytes::Bytes;
use edgectl_simulator::amqp::frames::{FrameReader, FrameWriter};
use edgectl_wire::amqp::attach::{Attach, ReceiverSettleMode, Role, SenderSettleMode};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader};
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::open::Open;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::sasl::{SaslCode, SaslFrame};
use edgectl_wire::amqp::session::Begin;
use edgectl_wire::amqp::terminus::{Source, Target, Terminus};
use edgectl_wire::amqp::transfer::Transfer;
use edgectl_wire::amqp::value::{Map, Symbol};
use tokio::io::{ReadHalf, WriteHalf, split};

use crate::client::{AnyStream, Outcome};

struct Client {
    reader: FrameReader<ReadHalf<AnyStream>>,
    writer: FrameWriter<WriteHalf<AnyStream>>,
}

/// Sends a message with a token, or with the certificate of the handshake, as an identity that need not be the own one.
pub async fn send(stream: AnyStream, identity: &str, token: Option<&str>, sender: &str, body: &str) -> Outcome {
    let (read, write) = split(stream);
    let mut client = Client { reader: FrameReader::new(read, 1_000_000), writer: FrameWriter::new(write) };
    if let Some(token) = token
        && client.prove(&format!("\0{}@sas.hub\0{token}", path(identity))).await != Some(SaslCode::Ok)
    {
        return Outcome::Unauthorized;
    }
    client.begin().await;
    client.say(Performative::Attach(Box::new(attach(&format!("/devices/{}/messages/events", path(sender)))))).await;
    loop {
        match client.hear().await {
            Some(Performative::Attach(_)) => {}
            Some(Performative::Flow(flow)) if flow.handle.is_some() => break,
            Some(Performative::Detach(detach)) => return outcome_of(detach.error.map(|e| e.condition.to_string())),
            Some(Performative::Close(close)) => return outcome_of(close.error.map(|e| e.condition.to_string())),
            other => panic!("{other:?} has no place here"),
        }
    }
    let tag = Some(Bytes::from_static(b"1"));
    let transfer = Transfer { handle: 0, delivery_id: Some(0), delivery_tag: tag, ..Transfer::default() };
    let payload = AnnotatedMessage::of_data(body.to_owned()).to_bytes();
    client.put(&Frame::Amqp { channel: 0, performative: Performative::Transfer(transfer), payload }).await;
    match client.hear().await {
        Some(Performative::Disposition(answer)) if answer.state == Some(DeliveryState::Accepted) => Outcome::Taken,
        other => panic!("{other:?} instead of a disposition"),
    }
}

fn path(identity: &str) -> String {
    identity.replace('/', "/modules/")
}

fn outcome_of(condition: Option<String>) -> Outcome {
    assert_eq!(condition.as_deref(), Some("amqp:unauthorized-access"));
    Outcome::Unauthorized
}

impl Client {
    async fn put(&mut self, frame: &Frame) {
        self.writer.put(frame);
        // The hub may have closed it, which the next read tells.
        let _ = self.writer.flush().await;
    }

    async fn say(&mut self, performative: Performative) {
        self.put(&Frame::of(0, performative)).await;
    }

    async fn hear(&mut self) -> Option<Performative> {
        loop {
            match self.reader.next().await.ok()?? {
                Frame::Amqp { performative, .. } => return Some(performative),
                Frame::Empty | Frame::Sasl(_) => {}
            }
        }
    }

    async fn prove(&mut self, response: &str) -> Option<SaslCode> {
        self.writer.put_header(ProtocolHeader::Sasl);
        let (mechanism, initial_response) = (Symbol::new("PLAIN"), Some(response.to_owned().into()));
        self.put(&Frame::Sasl(SaslFrame::Init { mechanism, initial_response, hostname: None })).await;
        self.reader.header().await.ok()?;
        loop {
            if let Frame::Sasl(SaslFrame::Outcome(code)) = self.reader.next().await.ok()?? {
                return Some(code);
            }
        }
    }

    async fn begin(&mut self) {
        self.writer.put_header(ProtocolHeader::Amqp);
        self.say(Performative::Open(Box::new(Open {
            container_id: "test".to_owned(),
            hostname: None,
            max_frame_size: None,
            channel_max: None,
            idle_time_out: None,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Map::new(),
        })))
        .await;
        self.say(Performative::Begin(Box::new(Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 2048,
            outgoing_window: u32::MAX,
            handle_max: None,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Map::new(),
        })))
        .await;
        assert_eq!(self.reader.header().await.unwrap(), Some(ProtocolHeader::Amqp));
        assert!(matches!(self.hear().await, Some(Performative::Open(_))));
        assert!(matches!(self.hear().await, Some(Performative::Begin(_))));
    }
}

fn attach(address: &str) -> Attach {
    Attach {
        name: "events".to_owned(),
        handle: 0,
        role: Role::Sender,
        sender_settle_mode: SenderSettleMode::Mixed,
        receiver_settle_mode: ReceiverSettleMode::First,
        source: Some(Source::default()),
        target: Some(Target { terminus: Terminus::at(address) }),
        initial_delivery_count: Some(0),
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Map::new(),
    }
}
