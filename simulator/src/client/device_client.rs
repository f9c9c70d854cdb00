//! A client of a hub over MQTT: connects, stays connected, and keeps what was not acknowledged until it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use edgectl_hub::gateway::SessionKind;
use edgectl_hub::gateway::{Destination, Feature, Settlement};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Channels};
use super::token::TokenSource;
use crate::link::Link;

/// Requests that may wait for the connection; more wait in their callers.
const REQUEST_QUEUE: usize = 64;
/// Messages that may wait for the connection; more wait in their callers.
const MESSAGE_QUEUE: usize = 256;
/// Events that may wait for the owner; the connection waits with them.
const EVENT_QUEUE: usize = 256;

/// Whom to connect to, as whom.
#[derive(Clone)]
pub struct ClientOptions {
    /// The hub's name, in user name and tokens.
    pub hub_host: String,
    /// Where its listener is.
    pub address: SocketAddr,
    /// The network on the way there.
    pub link: Link,
    /// The name that its certificate must have.
    pub server_name: ServerName<'static>,
    /// Who connects.
    pub identity: Identity,
    /// Whom to trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// Where tokens come from.
    pub tokens: Arc<dyn TokenSource>,
    /// What the client says it is.
    pub product: String,
    /// The chain, for an edge hub that acts for the client.
    pub auth_chain: Option<String>,
    /// How often it is heard of at least.
    pub keep_alive: Duration,
    /// Whether the hub remembers subscriptions between connections. What is subscribed here is subscribed again either
    /// way, so this says what happens while, and after, the client is away.
    pub session: SessionKind,
    /// What a refusal by the hub means.
    pub refusal: OnRefusal,
}

/// What a client makes of a refusal by its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// It ends, as those of the SDKs do.
    End,
    /// It tries again: the hub may not know it yet, or its key is just being changed.
    Retry,
}

/// A request did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The client was closed, or refused for good.
    #[error("the client is closed")]
    Closed,
    /// There is no connection now.
    #[error("there is no connection to the hub")]
    Offline,
    /// The hub said no.
    #[error("the hub answered {status}: {message}")]
    Refused {
        /// Like HTTP's.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The hub did not answer.
    #[error("the hub did not answer in time")]
    TimedOut,
}

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Never connected yet.
    Connecting,
    /// Connected.
    Connected,
    /// Was connected, and tries again.
    Disconnected,
    /// Refused, for good or until the next try.
    Unauthorized(String),
}

/// What comes from the hub.
#[derive(Debug)]
pub enum ClientEvent {
    /// The connection is there.
    Connected {
        /// Whether the hub still knew the session.
        session_present: bool,
    },
    /// The connection is gone; the client tries again.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// The hub refuses the client.
    Unauthorized {
        /// The hub's answer.
        reason: String,
    },
    /// A message.
    Delivery(IncomingDelivery),
    /// Changed desired properties, with `$version`.
    Desired(Value),
    /// A method call.
    Method {
        /// What is asked.
        request: MethodRequest,
        /// Where the answer goes.
        respond: oneshot::Sender<MethodResponse>,
    },
}

/// A message that is not acknowledged yet.
#[derive(Debug)]
pub struct IncomingDelivery {
    /// Where it goes at this client.
    pub destination: Destination,
    /// The message.
    pub message: Message,
    /// Whether it may have come before.
    pub redelivered: bool,
    pub(super) settle: Option<oneshot::Sender<Settlement>>,
}

impl IncomingDelivery {
    /// Waits until the message cannot be settled any more, because its connection is gone.
    pub async fn lost(&mut self) {
        match &mut self.settle {
            Some(settle) => settle.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Settles the message. One that is dropped in place of that stays with the hub, which gives it up for lost.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(settle) = self.settle.take() {
            // After a lost connection there is nobody to tell; the message comes again.
            let _ = settle.send(settlement);
        }
    }
}

/// A message that the owner sends.
pub(super) struct Outgoing {
    pub message: Message,
    pub done: oneshot::Sender<Result<(), ClientError>>,
}

/// What else the owner asks of the connection's task.
pub(super) enum Request {
    Twin { answer: oneshot::Sender<Result<Value, ClientError>> },
    Report { patch: Value, answer: oneshot::Sender<Result<Option<u64>, ClientError>> },
    Subscribe { feature: Feature, wanted: bool, done: oneshot::Sender<Result<(), ClientError>> },
    Close { done: oneshot::Sender<()> },
}

/// A message on its way.
pub struct Acknowledgement {
    answer: oneshot::Receiver<Result<(), ClientError>>,
}

impl Acknowledgement {
    /// Waits until the hub has the message.
    pub async fn wait(self) -> Result<(), ClientError> {
        self.answer.await.map_err(|_| ClientError::Closed)?
    }
}

/// A handle; all its copies use one connection.
#[derive(Clone)]
pub struct DeviceClient {
    requests: mpsc::Sender<Request>,
    messages: mpsc::Sender<Outgoing>,
    status: watch::Receiver<Status>,
    closing: CancellationToken,
}

impl DeviceClient {
    /// Starts connecting. Events must be read, or the connection stalls.
    pub fn start(options: ClientOptions) -> (Self, mpsc::Receiver<ClientEvent>) {
        let (requests, incoming_requests) = mpsc::channel(REQUEST_QUEUE);
        let (messages, incoming_messages) = mpsc::channel(MESSAGE_QUEUE);
        let (events, incoming) = mpsc::channel(EVENT_QUEUE);
        let (status, watched) = watch::channel(Status::Connecting);
        let closing = CancellationToken::new();
        let channels = Channels {
            requests: incoming_requests,
            messages: incoming_messages,
            events,
            status,
            closing: closing.clone(),
        };
        tokio::spawn(connection::run(options, channels));
        (Self { requests, messages, status: watched, closing }, incoming)
    }

    /// Sends a message. Returns when the hub has acknowledged it, over as many connections as that takes.
    pub async fn send(&self, message: Message) -> Result<(), ClientError> {
        self.enqueue(message).await?.wait().await
    }

    /// Puts a message behind those that were put before. What it returns resolves when the hub has acknowledged it.
    pub async fn enqueue(&self, message: Message) -> Result<Acknowledgement, ClientError> {
        let (done, answer) = oneshot::channel();
        self.messages.send(Outgoing { message, done }).await.map_err(|_| ClientError::Closed)?;
        Ok(Acknowledgement { answer })
    }

    /// The twin. Fails at once when there is no connection.
    pub async fn twin(&self) -> Result<Value, ClientError> {
        self.ask(|answer| Request::Twin { answer }).await
    }

    /// Reports properties. Returns their new version, if the hub tells. Fails at once when there is no connection.
    pub async fn report(&self, patch: Value) -> Result<Option<u64>, ClientError> {
        self.ask(|answer| Request::Report { patch, answer }).await
    }

    /// Starts a feature, now or as soon as there is a connection.
    pub async fn subscribe(&self, feature: Feature) -> Result<(), ClientError> {
        self.ask(|done| Request::Subscribe { feature, wanted: true, done }).await
    }

    /// Ends a feature.
    pub async fn unsubscribe(&self, feature: Feature) -> Result<(), ClientError> {
        self.ask(|done| Request::Subscribe { feature, wanted: false, done }).await
    }

    /// Waits until the client is connected, or refused for good.
    pub async fn wait_connected(&self) -> Result<(), ClientError> {
        let mut status = self.status.clone();
        let settled = status
            .wait_for(|status| matches!(status, Status::Connected | Status::Unauthorized(_)))
            .await
            .map_err(|_| ClientError::Closed)?;
        match &*settled {
            Status::Unauthorized(reason) => Err(ClientError::Refused { status: 401, message: reason.clone() }),
            _ => Ok(()),
        }
    }

    /// Where the connection stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Disconnects in order. What is not acknowledged is given up.
    pub async fn close(&self) {
        self.closing.cancel();
        let (done, closed) = oneshot::channel();
        if self.requests.send(Request::Close { done }).await.is_ok() {
            // The task may have ended meanwhile, which is what was wanted.
            let _ = closed.await;
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, ClientError>>) -> Request,
    ) -> Result<T, ClientError> {
        let (done, answer) = oneshot::channel();
        self.requests.send(request(done)).await.map_err(|_| ClientError::Closed)?;
        answer.await.map_err(|_| ClientError::Closed)?
    }
}
