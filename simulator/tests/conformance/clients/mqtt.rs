//! A client of MQTT 3.1.1.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_schemas::sas::{decode, encode};
use edgectl_simulator::mqtt::packets::{PacketReader, PacketWriter};
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode, PROTOCOL_LEVEL};
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::{Subscribe, Unsubscribe};
use serde_json::Value;
use tokio::io::{ReadHalf, WriteHalf, split};

use super::client::{Call, Client, Proof, Received, Refused, TwinAnswer};
use crate::door::{AnyStream, Door, open, soon};
use crate::site::{HOST, Listeners, Site};

/// System properties by the names that the SDKs send and expect.
const SYSTEM: [(&str, &str); 14] = [
    ("$.on", system::OUTPUT_NAME),
    ("$.mid", system::MESSAGE_ID),
    ("$.cid", system::CORRELATION_ID),
    ("$.uid", system::USER_ID),
    ("$.to", system::TO),
    ("$.ct", system::CONTENT_TYPE),
    ("$.ce", system::CONTENT_ENCODING),
    ("$.exp", system::EXPIRY),
    ("$.ifid", system::INTERFACE_ID),
    ("$.sub", system::SUBJECT),
    ("$.ctime", system::CREATION_TIME),
    ("$.cdid", system::CONNECTION_DEVICE_ID),
    ("$.cmid", system::CONNECTION_MODULE_ID),
    ("iothub-ack", system::ACK),
];

/// A connection.
pub struct MqttClient {
    reader: PacketReader<ReadHalf<AnyStream>>,
    writer: PacketWriter<WriteHalf<AnyStream>>,
    /// `devices/{D}` or `devices/{D}/modules/{M}`.
    path: String,
    /// What came before it was asked for.
    inbox: VecDeque<Packet>,
    last_id: u16,
    pub session_present: bool,
}

impl MqttClient {
    /// Connects, or is refused.
    pub async fn connect(
        site: &Site,
        at: Listeners,
        door: Door,
        identity: &str,
        proof: &Proof,
    ) -> Result<Self, Refused> {
        let stream = open(&site.authority, at, door, proof.handshake()).await;
        Self::connect_as(stream, identity, connect(identity, proof.token.as_deref())).await
    }

    /// Connects with a CONNECT of one's own.
    pub async fn connect_as(stream: AnyStream, identity: &str, connect: Packet) -> Result<Self, Refused> {
        let (read, write) = split(stream);
        let mut client = Self {
            reader: PacketReader::new(read, 1_000_000),
            writer: PacketWriter::new(write),
            path: format!("devices/{}", identity.replace('/', "/modules/")),
            inbox: VecDeque::new(),
            last_id: 0,
            session_present: false,
        };
        client.put(connect).await;
        match client.hear().await {
            Some(Packet::ConnAck(ConnAck { code: ConnectReturnCode::Accepted, session_present })) => {
                client.session_present = session_present;
                Ok(client)
            }
            Some(Packet::ConnAck(ConnAck { code, .. })) => Err(Refused::ConnAck(code)),
            _ => Err(Refused::Closed),
        }
    }

    /// Sends a packet; the hub may have closed the connection, which the next read tells.
    pub async fn put(&mut self, packet: Packet) {
        self.writer.put(&packet);
        let _ = self.writer.flush().await;
    }

    /// The next packet that is one of a kind; those before it are kept. None at the end.
    async fn find<T>(&mut self, mut wanted: impl FnMut(&Packet) -> Option<T>) -> Option<T> {
        let known = self.inbox.iter().enumerate().find_map(|(index, packet)| Some((index, wanted(packet)?)));
        if let Some((index, found)) = known {
            self.inbox.remove(index);
            return Some(found);
        }
        loop {
            let packet = self.hear().await?;
            match wanted(&packet) {
                Some(found) => return Some(found),
                None => self.inbox.push_back(packet),
            }
        }
    }

    async fn hear(&mut self) -> Option<Packet> {
        soon(self.reader.next()).await.ok().flatten()
    }

    /// The next publish to a topic of a kind.
    async fn publish_to(&mut self, is_wanted: impl Fn(&str) -> bool) -> Publish {
        let wanted = |packet: &Packet| match packet {
            Packet::Publish(publish) if is_wanted(&publish.topic) => Some(publish.clone()),
            _ => None,
        };
        self.find(wanted).await.expect("the hub sends it")
    }

    fn next_id(&mut self) -> PacketId {
        self.last_id += 1;
        PacketId::new(self.last_id).unwrap()
    }

    /// Publishes with quality 1 and waits for the acknowledgement.
    pub async fn publish(&mut self, topic: String, payload: impl Into<Bytes>) -> Result<(), Refused> {
        let id = self.next_id();
        let delivery = Delivery::AtLeastOnce { id, duplicate: false };
        self.put(Packet::Publish(Publish { topic, payload: payload.into(), delivery, retain: false })).await;
        let acknowledged = |packet: &Packet| (*packet == Packet::PubAck(id)).then_some(());
        self.find(acknowledged).await.ok_or(Refused::Closed)
    }

    /// Subscribes to a filter.
    pub async fn subscribe(&mut self, filter: &str) {
        let id = self.next_id();
        let filters = vec![(filter.to_owned(), QualityOfService::AtLeastOnce)];
        self.put(Packet::Subscribe(Subscribe { id, filters })).await;
        let granted = |packet: &Packet| match packet {
            Packet::SubAck(answer) if answer.id == id => Some(answer.granted.clone()),
            _ => None,
        };
        assert_eq!(self.find(granted).await, Some(vec![Some(QualityOfService::AtLeastOnce)]), "{filter}");
    }

    fn filter(&self, feature: Feature) -> String {
        match feature {
            Feature::Inputs => format!("{}/inputs/#", self.path),
            Feature::CloudToDevice => format!("{}/messages/devicebound/#", self.path),
            Feature::Methods => "$iothub/methods/POST/#".to_owned(),
            Feature::DesiredProperties => "$iothub/twin/PATCH/properties/desired/#".to_owned(),
        }
    }

    async fn ask_twin(&mut self, topic: &str, payload: &str) -> TwinAnswer {
        let request = self.next_id().to_string();
        self.publish(format!("{topic}/?$rid={request}"), payload.to_owned()).await.expect("the connection goes on");
        let end = format!("?$rid={request}");
        let answer = self
            .publish_to(|topic| {
                topic.starts_with("$iothub/twin/res/")
                    && topic.split('&').next().is_some_and(|head| head.ends_with(&end))
            })
            .await;
        let status = answer.topic.split('/').nth(3).unwrap().parse().unwrap();
        let version = answer.topic.split_once("$version=").map(|(_, version)| version.parse().unwrap());
        TwinAnswer { status, version, body: answer.payload }
    }
}

#[async_trait]
impl Client for MqttClient {
    async fn send(&mut self, message: &Message) -> Result<(), Refused> {
        let topic = format!("{}/messages/events/{}", self.path, write_bag(message));
        self.publish(topic, message.body.clone()).await
    }

    async fn receive(&mut self) -> Received {
        let path = self.path.clone();
        let (inputs, from_cloud) = (format!("{path}/inputs/"), format!("{path}/messages/devicebound/"));
        let publish = self.publish_to(|topic| topic.starts_with(&inputs) || topic.starts_with(&from_cloud)).await;
        let (input, bag) = match publish.topic.strip_prefix(&inputs) {
            // The Node SDK wants the slash also where no properties follow.
            Some(rest) => rest.split_once('/').map(|(input, bag)| (Some(input.to_owned()), bag)).unwrap(),
            None => (None, &publish.topic[from_cloud.len()..]),
        };
        let Delivery::AtLeastOnce { id, duplicate } = publish.delivery else { panic!("it is to be acknowledged") };
        let message = read_bag(bag, publish.payload);
        Received { message, input, redelivered: Some(duplicate), key: id.to_string() }
    }

    async fn settle(&mut self, received: &Received, settlement: Settlement) {
        assert_eq!(settlement, Settlement::Complete, "PUBACK is all there is");
        self.put(Packet::PubAck(received.key.parse().unwrap())).await;
    }

    async fn listen(&mut self, feature: Feature) {
        self.subscribe(&self.filter(feature)).await;
    }

    async fn stop_listening(&mut self, feature: Feature) {
        let (id, filters) = (self.next_id(), vec![self.filter(feature)]);
        self.put(Packet::Unsubscribe(Unsubscribe { id, filters })).await;
        let done = |packet: &Packet| (*packet == Packet::UnsubAck(id)).then_some(());
        self.find(done).await.expect("the connection goes on");
    }

    async fn twin(&mut self) -> TwinAnswer {
        self.ask_twin("$iothub/twin/GET", " ").await
    }

    async fn report(&mut self, patch: &str) -> TwinAnswer {
        self.ask_twin("$iothub/twin/PATCH/properties/reported", patch).await
    }

    async fn desired(&mut self) -> Value {
        const TOPIC: &str = "$iothub/twin/PATCH/properties/desired/?$version=";
        let publish = self.publish_to(|topic| topic.starts_with(TOPIC)).await;
        let patch: Value = serde_json::from_slice(&publish.payload).unwrap();
        assert_eq!(publish.topic[TOPIC.len()..], patch["$version"].to_string());
        patch
    }

    async fn called(&mut self) -> Call {
        const TOPIC: &str = "$iothub/methods/POST/";
        let publish = self.publish_to(|topic| topic.starts_with(TOPIC)).await;
        let (name, number) = publish.topic[TOPIC.len()..].split_once("/?$rid=").unwrap();
        Call { name: name.to_owned(), payload: publish.payload, number: number.to_owned() }
    }

    async fn answer(&mut self, number: &str, status: i32, payload: &str) {
        let answered = self.publish(format!("$iothub/methods/res/{status}/?$rid={number}"), payload.to_owned()).await;
        assert_eq!(answered, Ok(()));
    }

    async fn ended(&mut self) -> Refused {
        while self.hear().await.is_some() {}
        Refused::Closed
    }
}

/// CONNECT of an SDK.
pub fn connect(identity: &str, token: Option<&str>) -> Packet {
    Packet::Connect(Box::new(Connect {
        protocol_level: PROTOCOL_LEVEL,
        clean_session: false,
        keep_alive: 60,
        client_id: identity.to_owned(),
        will: None,
        username: Some(format!("{HOST}/{identity}/?api-version=2021-04-12")),
        password: token.map(|token| Bytes::copy_from_slice(token.as_bytes())),
    }))
}

fn write_bag(message: &Message) -> String {
    let short = SYSTEM.iter().filter_map(|(short, long)| Some((*short, Some(message.system.get(long)?))));
    let pairs = short.chain(message.properties.iter()).map(|(name, value)| match value {
        Some(value) => format!("{}={}", encode(name), encode(value)),
        None => encode(name),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn read_bag(bag: &str, body: Bytes) -> Message {
    let mut message = Message::new(body);
    for pair in bag.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (decode(name), Some(decode(value))),
            None => (decode(pair), None),
        };
        match SYSTEM.iter().find(|(short, _)| *short == name) {
            Some((_, long)) => message.system.set(long, value),
            None => message.properties.set(name, value),
        }
    }
    message
}
