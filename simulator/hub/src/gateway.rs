//! The two ports between clients and a hub: [`Gateway`] from client to hub, [`ClientLink`] from hub to client.
//!
//! A front end turns bytes into calls of a `Gateway` and implements `ClientLink` for each connection. The edge hub and
//! the cloud hub both implement `Gateway`; the edge hub reaches its cloud through a third implementation, which speaks
//! to it over the wire.

use std::sync::Arc;

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use serde_json::Value;

use crate::certificate::ClientCertificate;
use crate::message::Message;
use crate::method::{MethodRequest, MethodResponse};
use crate::provisioning::Provisioning;
use crate::receipt::{Receipt, Receipts};

/// What a hub offers to its clients.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// Checks who a client is. Nothing is connected yet: HTTP needs no more than this.
    async fn authenticate(&self, identity: &Identity, credential: &Credential) -> Result<Client, Refusal>;

    /// Connects a client. An older connection of the same identity is closed. With a persistent session the features
    /// the client had subscribed to come into force again, and what it had not acknowledged is delivered again.
    async fn attach(
        &self,
        client: &Client,
        session: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal>;

    /// Ends a connection. Does nothing if another connection of the identity took over.
    async fn detach(&self, attachment: &Attachment);

    /// Takes messages from a client, in order. Returns when they are kept as safely as the hub is set to keep them. Of two
    /// calls whose waits overlap, the messages of that come first which was polled first.
    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal>;

    /// The client's twin as devices see it: `{"desired": {…, "$version"}, "reported": {…, "$version"}}`.
    async fn twin(&self, client: &Client) -> Result<Value, Refusal>;

    /// Merges a patch into the client's reported properties and returns their new version, if the hub knows it yet.
    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal>;

    /// Starts a feature on a connection.
    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal>;

    /// Ends a feature on a connection.
    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal>;

    /// Calls a direct method of another client.
    async fn invoke(
        &self,
        caller: &Client,
        target: &Identity,
        request: MethodRequest,
    ) -> Result<MethodResponse, Refusal>;

    /// The provisioning service that shares the hub's listeners, if there is one.
    fn provisioning(&self) -> Option<&dyn Provisioning> {
        None
    }
}

/// What a hub asks of a connected client.
#[async_trait]
pub trait ClientLink: Send + Sync {
    /// Hands over messages in order, each with the receipt that tells what becomes of it. Returns at once: the hub has
    /// only so many messages under way to a client, and hands over more when those are settled. Where the connection has
    /// ended the receipts are dropped.
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>);

    /// Hands over one message and waits until the client has settled it.
    async fn deliver_one(&self, delivery: Delivery) -> Result<Settlement, LinkClosed> {
        let receipts = Arc::new(Receipts::default());
        self.deliver(vec![(delivery, receipts.issue())]);
        receipts.settled().await;
        receipts.collect().pop().unwrap_or(Err(LinkClosed))
    }

    /// Tells of changed desired properties; the patch holds `$version`.
    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed>;

    /// Calls a method. The hub keeps the time and drops the call when it is over.
    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed>;

    /// Tells that the way to the hub is interrupted, as often as that is found. Only links whose hub lies behind a network
    /// are told.
    fn interrupted(&self) {}

    /// Tells that the way to the hub was interrupted and is back, so changes may have been missed. Only links whose hub
    /// lies behind a network are told.
    async fn reconnected(&self) {}

    /// Closes the connection; the client is told why where its protocol has words for it.
    fn close(&self, reason: CloseReason);
}

/// A client whose identity was proved.
#[derive(Debug, Clone)]
pub struct Client {
    /// Who it is.
    pub identity: Identity,
    /// Seconds since the Unix epoch after which the proof no longer holds; none if it holds for ever.
    pub expires_at: Option<u64>,
}

/// A connected client. The number tells connections of one identity apart.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Who is connected.
    pub client: Client,
    /// Unique among the connections of this hub.
    pub number: u64,
    /// Whether a persistent session was found and continued.
    pub session_present: bool,
    /// The features that came into force with the session.
    pub features: Vec<Feature>,
}

/// Whether a hub remembers subscriptions when the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// Subscriptions outlive the connection and the hub's process (MQTT clean session 0).
    Persistent,
    /// Subscriptions end with the connection, and those of an earlier session are forgotten.
    Clean,
}

/// How a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A shared access signature for the client's audience.
    Token(String),
    /// A certificate presented in the TLS handshake.
    Certificate(ClientCertificate),
    /// The token of an edge hub that acts for a client of its device. The chain goes from the client to the hub's
    /// device, `target;…;actor`.
    OnBehalfOf {
        /// The edge hub's own shared access signature. Empty from an edge hub to its way upwards, which signs itself.
        token: String,
        /// Identities from the target to the acting device, joined with `;`.
        chain: String,
    },
}

impl Credential {
    /// The proof that a client brought: a token, on behalf of another client if there is a chain, or else the certificate
    /// of the TLS handshake. None if it brought neither.
    pub fn brought(
        token: Option<String>,
        chain: Option<String>,
        certificate: Option<ClientCertificate>,
    ) -> Option<Self> {
        match (token, chain) {
            (Some(token), None) => Some(Self::Token(token)),
            (Some(token), Some(chain)) => Some(Self::OnBehalfOf { token, chain }),
            (None, _) => certificate.map(Self::Certificate),
        }
    }
}

/// What a client may switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Feature {
    /// Messages to the inputs of a module.
    Inputs,
    /// Cloud-to-device messages.
    CloudToDevice,
    /// Direct methods.
    Methods,
    /// Changes of desired properties.
    DesiredProperties,
}

/// A message on its way to a client.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where at the client it goes.
    pub destination: Destination,
    /// The message; system properties say where it came from. Shared by all to whom it goes.
    pub message: Arc<Message>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
}

/// Where at a client a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An input of a module.
    Input(Arc<str>),
    /// The device's queue of cloud-to-device messages.
    CloudToDevice,
}

/// What a client did with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It took the message.
    Complete,
    /// It will never take the message.
    Reject,
    /// It gives the message back, to be delivered again.
    Abandon,
}

/// The connection ended before the client answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection was closed")]
pub struct LinkClosed;

/// Why a hub closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection of the same identity took over.
    TakenOver,
    /// The proof of identity ran out, or the identity was disabled or removed.
    Unauthorized,
    /// The hub is shutting down.
    ShuttingDown,
    /// The client takes nothing of what it has to be told.
    FellBehind,
}

/// Why a hub does not do what a client asked. Each front end maps these to its protocol's codes, in one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The proof of identity does not hold. The reason is for the log, and for clients that may know it.
    #[error("not authorised: {0}")]
    Unauthorized(String),
    /// The client, or what it named, does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The target of a method is not connected.
    #[error("{0} is not connected")]
    NotConnected(Identity),
    /// The target did not answer in time.
    #[error("{0} did not answer in time")]
    NoAnswer(Identity),
    /// The message, twin or payload is larger than the limit.
    #[error("too large: {size} bytes, the most is {limit}")]
    TooLarge {
        /// Bytes found.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The connection was taken over or closed meanwhile.
    #[error("the connection is not attached any more")]
    Detached,
    /// The hub cannot do it now; it may later.
    #[error("unavailable: {0}")]
    Unavailable(String),
}
