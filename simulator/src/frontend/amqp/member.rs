//! One of the clients that share a connection: its proof, its place at the hub, and what the hub does for it, in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Attachment, Client, Credential, Feature, Gateway, Refusal, SessionKind};
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::CLOCK_SKEW_SECONDS;
use edgectl_wire::amqp::properties::MessageId;
use tokio::time::Instant;

use super::link::{AmqpLink, Closings, Outbound};
use crate::frontend::lane::{MessageLane, RequestLane};
use crate::listen::Certificate;

/// Where a link is on its connection. The serial number tells links apart that had the same handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The session.
    pub channel: u16,
    /// The link in the session.
    pub handle: u32,
    /// The link among all that there ever were.
    pub serial: u64,
}

/// A delivery to be acknowledged when the hub has it.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    /// The link that it came on.
    pub place: Place,
    /// Its number in the session.
    pub delivery: u32,
    /// Whether the client waits for no answer.
    pub settled: bool,
}

/// What came of something that a client asked.
pub enum Outcome {
    /// A token was put.
    Token {
        /// The link that it came on.
        place: Place,
        /// Names the request.
        request: Option<MessageId>,
        /// Whether it holds.
        result: Result<(), Refusal>,
    },
    /// A link may begin, or not.
    Attached {
        /// The link.
        place: Place,
        /// Whether it may.
        result: Result<(), Refusal>,
    },
    /// A request about the twin is answered.
    Twin {
        /// The link that it came on.
        place: Place,
        /// The answer.
        answer: Outbound,
    },
    /// Nothing that anyone waits for.
    Nothing,
}

/// A client of a connection.
pub struct Member {
    /// Its face to the hub.
    pub face: Arc<Face>,
    /// Messages on their way to the hub.
    pub messages: MessageLane<Receipt>,
    /// What it asked besides.
    pub requests: RequestLane<Outcome>,
    /// Links that it has.
    pub links: usize,
}

impl Member {
    /// A client that has proved nothing yet.
    pub fn new(face: Arc<Face>) -> Self {
        // The hub asks no proof of messages: links are refused where there is none.
        let client = Client { identity: face.identity.clone(), expires_at: None };
        let messages = MessageLane::new(Arc::clone(&face.gateway), client);
        Self { face, messages, requests: RequestLane::default(), links: 0 }
    }

    /// Whether more may be taken from it.
    pub fn has_room(&self) -> bool {
        // Credit limits how many messages there are.
        self.messages.has_room_for_bytes() && self.requests.has_room()
    }

    /// Whether the hub has done all that it asked.
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.requests.is_empty()
    }
}

/// A client as the hub knows it. What it is asked is done in the order of its lane of requests.
pub struct Face {
    identity: Identity,
    gateway: Arc<dyn Gateway>,
    certificate: Certificate,
    closings: Arc<Closings>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    /// When the proof is over.
    expiry: Option<Instant>,
    attached: Option<(Attachment, Arc<AmqpLink>)>,
}

impl Face {
    /// A client that has proved nothing yet; the certificate is that of the connection's TLS handshake.
    pub fn new(
        identity: Identity,
        gateway: Arc<dyn Gateway>,
        certificate: Certificate,
        closings: Arc<Closings>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { identity, gateway, certificate, closings, clock, state: Mutex::default() })
    }

    /// Takes a proof that was checked already.
    pub fn proved(&self, client: Client) {
        let end = client.expires_at.map(|at| at.saturating_add(CLOCK_SKEW_SECONDS));
        let expiry = end.and_then(|end| self.clock.instant_of(end));
        let mut state = self.lock();
        (state.client, state.expiry) = (Some(client), expiry);
    }

    /// Checks a token. One that holds takes the place of an earlier one.
    pub async fn put_token(&self, token: String) -> Result<(), Refusal> {
        let client = self.gateway.authenticate(&self.identity, &Credential::Token(token)).await?;
        self.proved(client);
        Ok(())
    }

    /// Attaches the client to the hub, if it is not, and starts a feature.
    pub async fn attach(&self, feature: Option<Feature>) -> Result<(), Refusal> {
        let attachment = match self.attachment() {
            Some(attachment) => attachment,
            None => {
                let client = self.client().await?;
                let link = AmqpLink::new(self.identity.clone(), Arc::clone(&self.closings));
                let attachment = self.gateway.attach(&client, SessionKind::Clean, Arc::clone(&link) as _).await?;
                self.lock().attached = Some((attachment.clone(), link));
                attachment
            }
        };
        match feature {
            Some(feature) => self.gateway.subscribe(&attachment, feature).await,
            None => Ok(()),
        }
    }

    /// The proof: a token that was put, or else the certificate.
    async fn client(&self) -> Result<Client, Refusal> {
        if let Some(client) = self.lock().client.clone() {
            return Ok(client);
        }
        let Some(credential) = Credential::brought(None, None, self.certificate.clone()) else {
            return Err(Refusal::Unauthorized(format!("{} has put no token", self.identity)));
        };
        let client = self.gateway.authenticate(&self.identity, &credential).await?;
        self.proved(client.clone());
        Ok(client)
    }

    /// Starts a feature.
    pub async fn subscribe(&self, feature: Feature) -> Result<(), Refusal> {
        let attachment = self.attachment().ok_or(Refusal::Detached)?;
        self.gateway.subscribe(&attachment, feature).await
    }

    /// Ends a feature, if the client is attached.
    pub async fn unsubscribe(&self, feature: Feature) -> Result<(), Refusal> {
        match self.attachment() {
            Some(attachment) => self.gateway.unsubscribe(&attachment, feature).await,
            None => Ok(()),
        }
    }

    /// Reads the client's twin.
    pub async fn twin(&self) -> Result<serde_json::Value, Refusal> {
        let attachment = self.attachment().ok_or(Refusal::Detached)?;
        self.gateway.twin(&attachment.client).await
    }

    /// Merges reported properties.
    pub async fn report(&self, patch: serde_json::Value) -> Result<Option<u64>, Refusal> {
        let attachment = self.attachment().ok_or(Refusal::Detached)?;
        self.gateway.report(&attachment.client, patch).await
    }

    /// Tells the hub that the client has no link any more.
    pub async fn detach(&self) {
        let attached = self.lock().attached.take();
        if let Some((attachment, link)) = attached {
            link.end();
            self.gateway.detach(&attachment).await;
        }
    }

    /// Forgets the proof.
    pub fn forget(&self) {
        let mut state = self.lock();
        (state.client, state.expiry) = (None, None);
    }

    /// When the proof is over; none if that is too far away to be counted.
    pub fn expiry(&self) -> Option<Instant> {
        self.lock().expiry
    }

    /// What the hub sees of the client, if it is attached.
    pub fn link(&self) -> Option<Arc<AmqpLink>> {
        self.lock().attached.as_ref().map(|(_, link)| Arc::clone(link))
    }

    fn attachment(&self) -> Option<Attachment> {
        self.lock().attached.as_ref().map(|(attachment, _)| attachment.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
