//! The one face of all clients.

use async_trait::async_trait;
use bytes::Bytes;
use edgectl_hub::gateway::{Feature, Settlement};
use edgectl_hub::message::Message;
use edgectl_simulator::authority::Issued;
use edgectl_wire::amqp::sasl::SaslCode;
use edgectl_wire::mqtt::connect::ConnectReturnCode;
use rustls::SupportedProtocolVersion;
use serde_json::Value;

use super::amqp::AmqpClient;
use super::https::HttpsClient;
use super::mqtt::MqttClient;
use crate::door::{Door, Handshake};
use crate::site::Site;
use crate::table::Hub;

/// How a connection of AMQP begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Opening {
    /// With the bare header of AMQP; a token is put on links.
    #[default]
    Bare,
    /// With a mechanism that proves nothing; a token is put on links.
    Mechanism(&'static str),
    /// With the token as the password.
    Plain,
}

/// What a client brings.
#[derive(Clone, Default)]
pub struct Proof {
    pub token: Option<String>,
    pub certificate: Option<Issued>,
    pub version: Option<&'static SupportedProtocolVersion>,
    pub opening: Opening,
}

impl Proof {
    pub fn token(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..Self::default() }
    }

    pub fn certificate(certificate: &Issued) -> Self {
        Self { certificate: Some(certificate.clone()), ..Self::default() }
    }

    pub fn handshake(&self) -> Handshake<'_> {
        Handshake { certificate: self.certificate.as_ref(), version: self.version }
    }
}

/// How a protocol says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// MQTT, of a connection.
    ConnAck(ConnectReturnCode),
    /// MQTT, of anything later: the connection is closed without a word.
    Closed,
    /// The security layer of AMQP.
    Sasl(SaslCode),
    /// AMQP, of a token that is put on links.
    Token(i64),
    /// AMQP, of a link or a message.
    Condition(String),
    /// HTTP.
    Status(u16),
}

impl Refused {
    pub fn condition(text: &str) -> Self {
        Self::Condition(text.to_owned())
    }
}

/// A message that came to a client.
#[derive(Debug)]
pub struct Received {
    /// System properties have the names that routes use.
    pub message: Message,
    /// The input, at a module.
    pub input: Option<String>,
    /// Whether it is marked as one that may have come before, where the protocol has a mark for that.
    pub redelivered: Option<bool>,
    /// Names it when it is settled.
    pub key: String,
}

/// What a hub answers about a twin.
#[derive(Debug)]
pub struct TwinAnswer {
    pub status: i64,
    pub version: Option<i64>,
    pub body: Bytes,
}

/// A method that a client is asked for.
#[derive(Debug)]
pub struct Call {
    pub name: String,
    pub payload: Bytes,
    /// Names it when it is answered.
    pub number: String,
}

/// What a client does. What its protocol does not have it does not implement.
#[async_trait]
pub trait Client: Send {
    /// Sends a message and waits until the hub has it.
    async fn send(&mut self, message: &Message) -> Result<(), Refused>;

    /// The next message for the client.
    async fn receive(&mut self) -> Received {
        lacks()
    }

    /// Says what becomes of a message, and waits for nothing.
    async fn settle(&mut self, _received: &Received, _settlement: Settlement) {
        lacks()
    }

    /// Begins to listen, and waits until the hub knows.
    async fn listen(&mut self, _feature: Feature) {
        lacks()
    }

    /// Listens no more, and waits until the hub knows.
    async fn stop_listening(&mut self, _feature: Feature) {
        lacks()
    }

    /// Asks for the twin.
    async fn twin(&mut self) -> TwinAnswer {
        lacks()
    }

    /// Reports properties.
    async fn report(&mut self, _patch: &str) -> TwinAnswer {
        lacks()
    }

    /// The next change of desired properties.
    async fn desired(&mut self) -> Value {
        lacks()
    }

    /// The next call of a method.
    async fn called(&mut self) -> Call {
        lacks()
    }

    /// Answers a call.
    async fn answer(&mut self, _number: &str, _status: i32, _payload: &str) {
        lacks()
    }

    /// Waits until the hub ends it, and why.
    async fn ended(&mut self) -> Refused {
        lacks()
    }
}

fn lacks() -> ! {
    panic!("the table says that the protocol has it")
}

/// Connects a client with a proof, or is refused.
pub async fn connect_with<'a>(
    site: &'a Site,
    (hub, door): (Hub, Door),
    identity: &str,
    proof: &Proof,
) -> Result<Box<dyn Client + 'a>, Refused> {
    let at = site.at(hub);
    Ok(match door {
        Door::Mqtt | Door::MqttSocket => Box::new(MqttClient::connect(site, at, door, identity, proof).await?),
        Door::Amqp | Door::AmqpSocket => Box::new(AmqpClient::connect(site, at, door, identity, proof).await?),
        Door::Https => Box::new(HttpsClient::new(site, at, identity, proof)),
    })
}

/// Connects a client with its own token.
pub async fn connect<'a>(site: &'a Site, place: (Hub, Door), identity: &str) -> Box<dyn Client + 'a> {
    match connect_with(site, place, identity, &Proof::token(site.token(identity))).await {
        Ok(client) => client,
        Err(refused) => panic!("{identity} at {place:?}: {refused:?}"),
    }
}
