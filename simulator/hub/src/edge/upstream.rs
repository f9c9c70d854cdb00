//! The edge hub's way to its cloud hub: one logical connection for each client it acts for, made when first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::gateway::{
    Attachment, Client, ClientLink, CloseReason, Delivery, Destination, Feature, Gateway, LinkClosed, Refusal,
    SessionKind, Settlement,
};
use crate::message::Message;
use crate::method::{MethodRequest, MethodResponse};
use crate::receipt::Receipt;

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
    async fn cloud_to_device(&self, identity: &Identity, message: Message) -> Settlement;
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
    pub async fn send(&self, identity: &Identity, messages: Vec<Message>) -> Result<(), Refusal> {
        let attachment = self.attachment(identity).await?;
        self.gateway.send(&attachment.client, messages).await
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
        let attach = async || {
            let client = Client { identity: identity.clone(), expires_at: None };
            let link = Arc::new(CloudLink { identity: identity.clone(), downstream: self.downstream.clone() });
            self.gateway.attach(&client, SessionKind::Persistent, link).await
        };
        cell.get_or_try_init(attach).await.cloned()
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
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        let Some(downstream) = self.downstream.upgrade() else { return };
        let identity = self.identity.clone();
        tokio::spawn(async move {
            for (delivery, receipt) in deliveries {
                receipt.settle(match delivery.destination {
                    Destination::CloudToDevice => {
                        let message = Arc::unwrap_or_clone(delivery.message);
                        downstream.cloud_to_device(&identity, message).await
                    }
                    // A cloud hub has no routes into modules.
                    Destination::Input(_) => Settlement::Reject,
                });
            }
        });
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
