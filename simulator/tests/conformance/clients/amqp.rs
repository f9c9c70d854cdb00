//! A client of AMQP 1.0 with one identity, as the Node SDK is.

use async_trait::async_trait;
use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::Message;
use edgectl_schemas::sas::encoded_audience;
use edgectl_wire::amqp::attach::Role;
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::message::{AnnotatedMessage, Body};
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::value::Value;
use serde_json::Value as Json;
use uuid::Uuid;

use super::amqp_connection::{AmqpConnection, Heard};
use super::amqp_message::{data, read, write};
use super::client::{Call, Client, Opening, Proof, Received, Refused, TwinAnswer};
use crate::door::{Door, open};
use crate::site::{HOST, Listeners, Site, id};

const DESIRED: &str = "/notifications/twin/properties/desired";

/// A connection of one client.
pub struct AmqpClient {
    pub connection: AmqpConnection,
    /// `/devices/{D}` or `/devices/{D}/modules/{M}`.
    path: String,
    is_module: bool,
    events: u32,
    messages: Option<u32>,
    /// The links for requests and for what comes back.
    twin: Option<(u32, u32)>,
    methods: Option<(u32, u32)>,
}

impl AmqpClient {
    /// Connects and attaches the link for events, or is refused.
    pub async fn connect(
        site: &Site,
        at: Listeners,
        door: Door,
        identity: &str,
        proof: &Proof,
    ) -> Result<Self, Refused> {
        let mut connection = open_proved(site, at, door, identity, proof).await?;
        let path = path(identity);
        let events = connection.attach(Role::Sender, &format!("{path}/messages/events"), None).await?;
        let is_module = identity.contains('/');
        Ok(Self { connection, path, is_module, events, messages: None, twin: None, methods: None })
    }

    async fn pair(&mut self, what: &str, address: &str) -> (u32, u32) {
        let (pair, address) = (format!("{what}:{}", Uuid::new_v4()), format!("{}{address}", self.path));
        let sender = self.connection.attach(Role::Sender, &address, Some(&pair)).await.unwrap();
        (sender, self.connection.attach(Role::Receiver, &address, Some(&pair)).await.unwrap())
    }

    async fn twin_links(&mut self) -> (u32, u32) {
        if self.twin.is_none() {
            self.twin = Some(self.pair("twin", "/twin").await);
        }
        self.twin.unwrap()
    }

    async fn ask_twin(&mut self, operation: &str, resource: Option<&str>, body: &str) -> TwinAnswer {
        let (sender, receiver) = self.twin_links().await;
        let mut request = AnnotatedMessage::of_data(body.to_owned());
        let correlation = Some(MessageId::String(Uuid::new_v4().to_string()));
        request.properties.correlation_id.clone_from(&correlation);
        request.message_annotations.put_symbol("operation", operation.into());
        if let Some(resource) = resource {
            request.message_annotations.put_symbol("resource", resource.into());
        }
        self.connection.transfer(sender, &request, true).await;
        let answered = |heard: &Heard| match heard {
            Heard::Message { link, message, .. }
                if *link == receiver && message.properties.correlation_id == correlation =>
            {
                Some((**message).clone())
            }
            _ => None,
        };
        let answer = self.connection.find(answered).await.expect("an answer");
        let number = |name| answer.message_annotations.get(name).and_then(Value::as_integer);
        TwinAnswer { status: number("status").unwrap(), version: number("version"), body: data(&answer) }
    }
}

#[async_trait]
impl Client for AmqpClient {
    async fn send(&mut self, message: &Message) -> Result<(), Refused> {
        self.connection.send(self.events, &write(message)).await
    }

    async fn receive(&mut self) -> Received {
        let (delivery, settled, message) = self.connection.message(self.messages.expect("it listens")).await;
        assert!(!settled, "the client says what becomes of it");
        let input = message.message_annotations.get("x-opt-input-name").and_then(Value::as_text).map(str::to_owned);
        Received { message: read(&message), input, redelivered: None, key: delivery.to_string() }
    }

    async fn settle(&mut self, received: &Received, settlement: Settlement) {
        let state = match settlement {
            Settlement::Complete => DeliveryState::Accepted,
            Settlement::Reject => DeliveryState::Rejected(None),
            Settlement::Abandon => DeliveryState::Released,
        };
        self.connection.settle(received.key.parse().unwrap(), state).await;
    }

    async fn listen(&mut self, feature: Feature) {
        match feature {
            Feature::Inputs | Feature::CloudToDevice => {
                let end = if self.is_module { "events" } else { "devicebound" };
                let address = format!("{}/messages/{end}", self.path);
                self.messages = Some(self.connection.attach(Role::Receiver, &address, None).await.unwrap());
            }
            Feature::Methods => self.methods = Some(self.pair("methods", "/methods/devicebound").await),
            Feature::DesiredProperties => assert_eq!(self.ask_twin("PUT", Some(DESIRED), " ").await.status, 200),
        }
    }

    async fn stop_listening(&mut self, feature: Feature) {
        let links = match feature {
            Feature::Inputs | Feature::CloudToDevice => vec![self.messages.take().expect("it listens")],
            Feature::Methods => {
                self.methods.take().map(|(sender, receiver)| vec![sender, receiver]).expect("it listens")
            }
            Feature::DesiredProperties => {
                assert_eq!(self.ask_twin("DELETE", Some(DESIRED), " ").await.status, 200);
                Vec::new()
            }
        };
        for link in links {
            self.connection.detach(link).await;
        }
    }

    async fn twin(&mut self) -> TwinAnswer {
        self.ask_twin("GET", None, " ").await
    }

    async fn report(&mut self, patch: &str) -> TwinAnswer {
        self.ask_twin("PATCH", Some("/properties/reported"), patch).await
    }

    async fn desired(&mut self) -> Json {
        let (_, receiver) = self.twin_links().await;
        let (_, settled, told) = self.connection.message(receiver).await;
        assert!(settled && told.properties.correlation_id.is_none());
        assert_eq!(told.message_annotations.get("resource"), Some(&DESIRED.into()));
        serde_json::from_slice(&data(&told)).unwrap()
    }

    async fn called(&mut self) -> Call {
        let (_, receiver) = self.methods.expect("it listens");
        let (_, _, call) = self.connection.message(receiver).await;
        let name = call.application_properties.get("IoThub-methodname").and_then(Value::as_text).unwrap().to_owned();
        let Some(MessageId::Uuid(number)) = call.properties.correlation_id else { panic!("a number") };
        Call { name, payload: data(&call), number: Uuid::from_bytes(number).to_string() }
    }

    async fn answer(&mut self, number: &str, status: i32, payload: &str) {
        let mut answer = AnnotatedMessage::of_data(payload.to_owned());
        answer.properties.correlation_id = Some(MessageId::Uuid(number.parse::<Uuid>().unwrap().into_bytes()));
        answer.application_properties.put_text("IoThub-status", Value::Int(status));
        let (sender, _) = self.methods.expect("it listens");
        assert_eq!(self.connection.send(sender, &answer).await, Ok(()));
    }

    async fn ended(&mut self) -> Refused {
        self.connection.ended().await
    }
}

/// Where the addresses of an identity begin.
pub fn path(identity: &str) -> String {
    format!("/devices/{}", identity.replace('/', "/modules/"))
}

/// A connection on which an identity was proved, as far as that goes before there are links.
pub async fn open_proved(
    site: &Site,
    at: Listeners,
    door: Door,
    identity: &str,
    proof: &Proof,
) -> Result<AmqpConnection, Refused> {
    let stream = open(&site.authority, at, door, proof.handshake()).await;
    let sasl = match (proof.opening, &proof.token) {
        (Opening::Bare, _) => None,
        (Opening::Mechanism(name), _) => Some((name, String::new())),
        (Opening::Plain, token) => {
            Some(("PLAIN", format!("\0{identity}@sas.{HOST}\0{}", token.as_deref().unwrap_or_default())))
        }
    };
    let mut connection = AmqpConnection::open(stream, sasl).await?;
    match &proof.token {
        Some(token) if proof.opening != Opening::Plain => put_token(&mut connection, identity, token).await?,
        _ => {}
    }
    Ok(connection)
}

/// Puts a token for an identity on a pair of links.
pub async fn put_token(connection: &mut AmqpConnection, identity: &str, token: &str) -> Result<(), Refused> {
    let sender = connection.attach(Role::Sender, "$cbs", None).await?;
    let receiver = connection.attach(Role::Receiver, "$cbs", None).await?;
    let mut request = AnnotatedMessage { body: Body::Value(token.into()), ..AnnotatedMessage::default() };
    request.properties.message_id = Some(MessageId::String("put".to_owned()));
    request.properties.to = Some("$cbs".to_owned());
    request.properties.reply_to = Some("cbs".to_owned());
    let audience = encoded_audience(HOST, &id(identity));
    let kind = "servicebus.windows.net:sastoken";
    for (name, value) in [("operation", "put-token"), ("type", kind), ("name", audience.as_str())] {
        request.application_properties.put_text(name, value.into());
    }
    connection.send(sender, &request).await?;
    let (_, _, answer) = connection.message(receiver).await;
    assert_eq!(answer.properties.correlation_id, request.properties.message_id);
    for link in [sender, receiver] {
        connection.detach(link).await;
    }
    match answer.application_properties.get("status-code").and_then(Value::as_integer) {
        Some(200) => Ok(()),
        status => Err(Refused::Token(status.expect("a status"))),
    }
}
