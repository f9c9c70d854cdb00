//! A connection of AMQP 1.0: how it begins, one session, and links on it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use edgectl_simulator::amqp::frames::{FrameReader, FrameWriter};
use edgectl_wire::amqp::attach::{Attach, Detach, ReceiverSettleMode, Role, SenderSettleMode};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader};
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::open::Open;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::sasl::{SaslCode, SaslFrame};
use edgectl_wire::amqp::session::{Begin, Flow};
use edgectl_wire::amqp::terminus::{Source, Target, Terminus};
use edgectl_wire::amqp::transfer::{Disposition, Transfer};
use edgectl_wire::amqp::value::{Map, Symbol};
use tokio::io::{ReadHalf, WriteHalf, split};

use super::client::Refused;
use crate::door::{AnyStream, soon};

/// Bytes of a part of a message.
const PART_BYTES: usize = 60_000;

/// Something that the hub said.
#[derive(Debug)]
pub enum Heard {
    /// A message, put together from its parts.
    Message { link: u32, delivery: u32, settled: bool, message: Box<AnnotatedMessage> },
    /// Anything else.
    Performative(Performative),
}

/// An open connection with a session.
pub struct AmqpConnection {
    reader: FrameReader<ReadHalf<AnyStream>>,
    writer: FrameWriter<WriteHalf<AnyStream>>,
    /// What came before it was asked for.
    inbox: VecDeque<Heard>,
    /// Messages that are not all there, by link.
    partial: HashMap<u32, (u32, Vec<u8>)>,
    next_link: u32,
    next_delivery: u32,
}

impl AmqpConnection {
    /// Begins with what goes before, and opens connection and session.
    pub async fn open(stream: AnyStream, sasl: Option<(&str, String)>) -> Result<Self, Refused> {
        let (read, write) = split(stream);
        let mut connection = Self {
            reader: FrameReader::new(read, 1_000_000),
            writer: FrameWriter::new(write),
            inbox: VecDeque::new(),
            partial: HashMap::new(),
            next_link: 0,
            next_delivery: 0,
        };
        if let Some((mechanism, response)) = sasl {
            match connection.prove(mechanism, response).await {
                Some(SaslCode::Ok) => {}
                Some(code) => return Err(Refused::Sasl(code)),
                None => return Err(Refused::Closed),
            }
        }
        connection.begin().await;
        Ok(connection)
    }

    async fn prove(&mut self, mechanism: &str, response: String) -> Option<SaslCode> {
        self.writer.put_header(ProtocolHeader::Sasl);
        let mechanism = Symbol::from_text(mechanism);
        let init =
            SaslFrame::Init { mechanism: mechanism.clone(), initial_response: Some(response.into()), hostname: None };
        self.put(&Frame::Sasl(init)).await;
        assert_eq!(soon(self.reader.header()).await.ok()??, ProtocolHeader::Sasl);
        loop {
            match soon(self.reader.next()).await.ok()?? {
                Frame::Sasl(SaslFrame::Outcome(code)) => return Some(code),
                Frame::Sasl(SaslFrame::Mechanisms(offered)) => assert!(offered.contains(&mechanism), "{offered:?}"),
                other => panic!("{other:?} in the security layer"),
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
        // What the Node SDK says.
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
        assert_eq!(soon(self.reader.header()).await.unwrap(), Some(ProtocolHeader::Amqp));
        assert!(matches!(self.hear().await, Some(Heard::Performative(Performative::Open(_)))));
        assert!(matches!(self.hear().await, Some(Heard::Performative(Performative::Begin(_)))));
    }

    async fn put(&mut self, frame: &Frame) {
        self.writer.put(frame);
        // The hub may have closed the connection, which the next read tells.
        let _ = self.writer.flush().await;
    }

    async fn say(&mut self, performative: Performative) {
        self.put(&Frame::of(0, performative)).await;
    }

    async fn hear(&mut self) -> Option<Heard> {
        loop {
            let Frame::Amqp { performative, payload, .. } = soon(self.reader.next()).await.ok()?? else { continue };
            let Performative::Transfer(transfer) = performative else { return Some(Heard::Performative(performative)) };
            let (delivery, mut bytes) =
                self.partial.remove(&transfer.handle).unwrap_or_else(|| (transfer.delivery_id.unwrap(), Vec::new()));
            bytes.extend_from_slice(&payload);
            if transfer.more {
                self.partial.insert(transfer.handle, (delivery, bytes));
                continue;
            }
            let message = Box::new(AnnotatedMessage::decode(bytes.into()).unwrap());
            let settled = transfer.settled == Some(true);
            return Some(Heard::Message { link: transfer.handle, delivery, settled, message });
        }
    }

    /// The next of a kind; those before it are kept. None at the end of the connection.
    pub async fn find<T>(&mut self, mut wanted: impl FnMut(&Heard) -> Option<T>) -> Option<T> {
        let known = self.inbox.iter().enumerate().find_map(|(index, heard)| Some((index, wanted(heard)?)));
        if let Some((index, found)) = known {
            self.inbox.remove(index);
            return Some(found);
        }
        loop {
            let heard = self.hear().await?;
            match wanted(&heard) {
                Some(found) => return Some(found),
                None => self.inbox.push_back(heard),
            }
        }
    }

    /// The next message on a link, with its number and whether it is settled.
    pub async fn message(&mut self, wanted: u32) -> (u32, bool, AnnotatedMessage) {
        let on_link = |heard: &Heard| match heard {
            Heard::Message { link, delivery, settled, message } if *link == wanted => {
                Some((*delivery, *settled, (**message).clone()))
            }
            _ => None,
        };
        self.find(on_link).await.expect("the hub sends it")
    }

    /// Attaches a link that pairs with another by name, if it does. A receiver takes all that comes.
    pub async fn attach(&mut self, role: Role, address: &str, pair: Option<&str>) -> Result<u32, Refused> {
        let handle = self.next_link;
        self.next_link += 1;
        self.say(Performative::Attach(Box::new(attach(handle, role, address, pair)))).await;
        let begun = |heard: &Heard| match heard {
            Heard::Performative(Performative::Detach(detach)) if detach.handle == handle => {
                Some(Err(condition(detach.error.as_ref())))
            }
            // The answer to a receiver; a sender waits for its credit. A link that is refused has no terminus.
            Heard::Performative(Performative::Attach(answer)) if answer.handle == handle && role == Role::Receiver => {
                answer.source.is_some().then_some(Ok(()))
            }
            Heard::Performative(Performative::Flow(flow)) if flow.handle == Some(handle) => Some(Ok(())),
            _ => None,
        };
        self.find(begun).await.unwrap_or(Err(Refused::Closed))?;
        if role == Role::Receiver {
            let credit =
                Flow { handle: Some(handle), delivery_count: Some(0), link_credit: Some(1000), ..Flow::default() };
            let window = Flow { next_incoming_id: Some(0), incoming_window: 2048, outgoing_window: u32::MAX, ..credit };
            self.say(Performative::Flow(window)).await;
        }
        Ok(handle)
    }

    /// Ends a link.
    pub async fn detach(&mut self, handle: u32) {
        self.say(Performative::Detach(Detach { handle, closed: true, error: None })).await;
        let ended = |heard: &Heard| match heard {
            Heard::Performative(Performative::Detach(detach)) if detach.handle == handle => {
                Some(detach.error.is_none())
            }
            _ => None,
        };
        assert_eq!(self.find(ended).await, Some(true));
    }

    /// Sends a message, and waits until the hub says what became of it.
    pub async fn send(&mut self, link: u32, message: &AnnotatedMessage) -> Result<(), Refused> {
        let id = self.transfer(link, message, false).await;
        let settled = |heard: &Heard| match heard {
            Heard::Performative(Performative::Disposition(answer))
                if answer.role == Role::Receiver
                    && (answer.first..=answer.last.unwrap_or(answer.first)).contains(&id) =>
            {
                Some(match answer.state.as_ref() {
                    Some(DeliveryState::Accepted) => Ok(()),
                    Some(DeliveryState::Rejected(error)) => Err(condition(error.as_ref())),
                    other => panic!("{other:?} is no answer"),
                })
            }
            Heard::Performative(Performative::Detach(detach)) if detach.handle == link => {
                Some(Err(condition(detach.error.as_ref())))
            }
            _ => None,
        };
        self.find(settled).await.unwrap_or(Err(Refused::Closed))
    }

    /// Sends a message, in parts that are no larger than a frame may be; its number.
    pub async fn transfer(&mut self, handle: u32, message: &AnnotatedMessage, settled: bool) -> u32 {
        let (id, mut rest) = (self.next_delivery, message.to_bytes());
        self.next_delivery += 1;
        loop {
            let part = rest.split_to(rest.len().min(PART_BYTES));
            let performative = Performative::Transfer(Transfer {
                handle,
                delivery_id: Some(id),
                delivery_tag: Some(Bytes::copy_from_slice(&id.to_be_bytes())),
                settled: Some(settled),
                more: !rest.is_empty(),
                ..Transfer::default()
            });
            self.put(&Frame::Amqp { channel: 0, performative, payload: part }).await;
            if rest.is_empty() {
                return id;
            }
        }
    }

    /// Says what becomes of a delivery.
    pub async fn settle(&mut self, delivery: u32, state: DeliveryState) {
        self.say(Performative::Disposition(Disposition {
            role: Role::Receiver,
            first: delivery,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        }))
        .await;
    }

    /// Waits until the hub ends a link or the connection, and why.
    pub async fn ended(&mut self) -> Refused {
        let ended = |heard: &Heard| match heard {
            Heard::Performative(Performative::Detach(detach)) => Some(condition(detach.error.as_ref())),
            Heard::Performative(Performative::Close(close)) => Some(condition(close.error.as_ref())),
            _ => None,
        };
        self.find(ended).await.unwrap_or(Refused::Closed)
    }
}

fn condition(error: Option<&edgectl_wire::amqp::condition::ErrorCondition>) -> Refused {
    error.map_or(Refused::Closed, |error| Refused::condition(error.condition.as_str()))
}

fn attach(handle: u32, role: Role, address: &str, pair: Option<&str>) -> Attach {
    let (source, target) = match role {
        Role::Sender => (Terminus::default(), Terminus::at(address)),
        Role::Receiver => (Terminus::at(address), Terminus::default()),
    };
    let mut properties = Map::new();
    if let Some(pair) = pair {
        properties.put_symbol("com.microsoft:channel-correlation-id", pair.into());
    }
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
        properties,
    }
}
