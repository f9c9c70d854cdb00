//! The edge hub's way to its cloud hub: one logical connection for each client it acts for, made when first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::gateway::{
    Attachment, ClientLink, CloseReason, Credential, Delivery, Destination, Feature, Gateway, LinkClosed, Refusal,
    SessionKind, Settlement,
};
use crate::message::Message;
use crate::method::{MethodRequest, MethodResponse};

/// What the cloud hub asks of a client that the edge hub acts for.
#[async_trait]
pub trait Downstream: Send + Sync {
    /// The cloud changed desired properties.
    async fn desired_changed(&self, identity: &Identity, patch: Value);
    /// The way to the cloud was interrupted; changes may have been missed.
    async fn reconnected(&self, identity: &Identity);
    /// The cloud calls a method.
    async fn invoke(&self, identity: &Identity, request: MethodRequest) -> Result<MethodResponse, Refusal>;
    /// The cloud sends a message to a device.
    async fn cloud_to_device(&self, identity: &Identity, delivery: Delivery) -> Settlement;
    /// Whether the registry, asked now, has removed or disabled a client.
    async fn is_gone(&self, identity: &Identity) -> bool;
    /// The chain from a client to this device, `client;…;device`.
    fn chain(&self, identity: &Identity) -> String;
}

/// The connections to the cloud hub.
pub struct Upstream {
    gateway: Arc<dyn Gateway>,
    downstream: Weak<dyn Downstream>,
    attachments: Mutex<HashMap<Identity, Arc<OnceCell<Attachment>>>>,
}

impl Upstream {
    /// Uses a cloud hub; what it asks goes to `downstream`.
    pub fn new(gateway: Arc<dyn Gateway>, downstream: Weak<dyn Downstream>) -> Self {
        Self { gateway, downstream, attachments: Mutex::default() }
    }

    /// Sends messages of one client. Returns when the cloud hub has them.
    ///
    /// As in the real hub a client that is refused keeps its messages: its key may just be changing, or a hub on the way
    /// may not know it yet. Only those of a client that the registry has removed are refused for good.
    pub async fn send(&self, identity: &Identity, messages: Vec<Message>) -> Result<(), Refusal> {
        let sent = match self.attachment(identity).await {
            Ok(attachment) => self.gateway.send(&attachment.client, messages).await,
            Err(refusal) => Err(refusal),
        };
        match sent {
            Err(refusal @ (Refusal::Unauthorized(_) | Refusal::NotFound(_))) if !self.is_gone(identity).await => {
                Err(Refusal::Unavailable(refusal.to_string()))
            }
            sent => sent,
        }
    }

    async fn is_gone(&self, identity: &Identity) -> bool {
        match self.downstream.upgrade() {
            Some(downstream) => downstream.is_gone(identity).await,
            None => false,
        }
    }

    /// The client's twin as the cloud hub has it.
    pub async fn twin(&self, identity: &Identity) -> Result<Value, Refusal> {
        let attachment = self.attachment(identity).await?;
        self.gateway.twin(&attachment.client).await
    }

    /// Hands on a patch of reported properties.
    pub async fn report(&self, identity: &Identity, patch: Value) -> Result<Option<u64>, Refusal> {
        let attachment = self.attachment(identity).await?;
        self.gateway.report(&attachment.client, patch).await
    }

    /// Lets the cloud hub reach the client with a feature.
    pub async fn subscribe(&self, identity: &Identity, feature: Feature) -> Result<(), Refusal> {
        let attachment = self.attachment(identity).await?;
        self.gateway.subscribe(&attachment, feature).await
    }

    /// Ends a feature.
    pub async fn unsubscribe(&self, identity: &Identity, feature: Feature) -> Result<(), Refusal> {
        let attachment = self.attachment(identity).await?;
        self.gateway.unsubscribe(&attachment, feature).await
    }

    /// Ends the client's connection, if there is one.
    pub async fn disconnect(&self, identity: &Identity) {
        let cell = self.lock().remove(identity);
        if let Some(attachment) = cell.as_ref().and_then(|cell| cell.get()) {
            self.gateway.detach(attachment).await;
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        let cells = std::mem::take(&mut *self.lock());
        for attachment in cells.values().filter_map(|cell| cell.get()) {
            self.gateway.detach(attachment).await;
        }
    }

    async fn attachment(&self, identity: &Identity) -> Result<Attachment, Refusal> {
        let cell = Arc::clone(self.lock().entry(identity.clone()).or_default());
        let attachment = cell.get_or_try_init(|| self.attach(identity)).await.cloned()?;
        if self.lock().get(identity).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            return Ok(attachment);
        }
        // It was ended while it was made.
        self.gateway.detach(&attachment).await;
        Err(Refusal::Detached)
    }

    async fn attach(&self, identity: &Identity) -> Result<Attachment, Refusal> {
        let downstream = self.downstream.upgrade().ok_or(Refusal::Detached)?;
        // The gateway signs for the edge hub: its token is none of the hub's business.
        let credential = Credential::OnBehalfOf { token: String::new(), chain: downstream.chain(identity) };
        let client = self.gateway.authenticate(identity, &credential).await?;
        let link = Arc::new(CloudLink { identity: identity.clone(), downstream: self.downstream.clone() });
        // What was subscribed belongs to this hub's own session with the client, and is mirrored at each connection.
        self.gateway.attach(&client, SessionKind::Clean, link).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Arc<OnceCell<Attachment>>>> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the cloud hub sees of a client that the edge hub acts for.
struct CloudLink {
    identity: Identity,
    downstream: Weak<dyn Downstream>,
}

#[async_trait]
impl ClientLink for CloudLink {
    async fn deliver(&self, delivery: Delivery) -> Result<Settlement, LinkClosed> {
        let downstream = self.downstream.upgrade().ok_or(LinkClosed)?;
        match delivery.destination {
            Destination::CloudToDevice => Ok(downstream.cloud_to_device(&self.identity, delivery).await),
            // A cloud hub has no routes into modules.
            Destination::Input(_) => Ok(Settlement::Reject),
        }
    }

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        self.downstream.upgrade().ok_or(LinkClosed)?.desired_changed(&self.identity, patch).await;
        Ok(())
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        let downstream = self.downstream.upgrade().ok_or(LinkClosed)?;
        downstream.invoke(&self.identity, request).await.map_err(|_| LinkClosed)
    }

    async fn reconnected(&self) {
        if let Some(downstream) = self.downstream.upgrade() {
            downstream.reconnected(&self.identity).await;
        }
    }

    fn close(&self, _reason: CloseReason) {}
}
