//! The edge hub's way to its cloud hub: one logical connection for each client it acts for, made when first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use serde_json::Value;
use tokio::sync::{OnceCell, watch};

use super::metrics::{Metrics, UPSTREAM};
use crate::gateway::{
    Attachment, ClientLink, CloseReason, Credential, Delivery, Destination, Feature, Gateway, LinkClosed, Refusal,
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
    /// The way to the cloud is interrupted. Told as often as it is found to be.
    fn interrupted(&self, identity: &Identity);
    /// The way to the cloud was interrupted; changes may have been missed.
    async fn reconnected(&self, identity: &Identity);
    /// The cloud calls a method.
    async fn invoke(&self, identity: &Identity, request: MethodRequest) -> Result<MethodResponse, Refusal>;
    /// The cloud sends a message to a device. Fails if the device is not here to settle it.
    async fn cloud_to_device(&self, identity: &Identity, delivery: Delivery) -> Result<Settlement, LinkClosed>;
    /// Whether the registry, asked now, has removed or disabled a client.
    async fn is_gone(&self, identity: &Identity) -> bool;
    /// The chain from a client to this device, `client;…;device`.
    fn chain(&self, identity: &Identity) -> String;
}

/// The connections to the cloud hub.
pub struct Upstream {
    gateway: Arc<dyn Gateway>,
    downstream: Weak<dyn Downstream>,
    connections: Mutex<HashMap<Identity, Arc<Connection>>>,
    metrics: Arc<Metrics>,
}

/// The connection of one client.
#[derive(Default)]
struct Connection {
    attachment: OnceCell<Attachment>,
    /// How many requests it is used for now.
    uses: watch::Sender<usize>,
}

/// One use of a connection, until it is dropped.
struct Use {
    connection: Arc<Connection>,
}

impl Use {
    fn new(connection: Arc<Connection>) -> Self {
        connection.uses.send_modify(|count| *count += 1);
        Self { connection }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.connection.uses.send_modify(|count| *count -= 1);
    }
}

impl Upstream {
    /// Uses a cloud hub; what it asks goes to `downstream`.
    pub fn new(gateway: Arc<dyn Gateway>, downstream: Weak<dyn Downstream>, metrics: Arc<Metrics>) -> Self {
        Self { gateway, downstream, connections: Mutex::default(), metrics }
    }

    /// Sends messages of one client. Returns when the cloud hub has them.
    ///
    /// As in the real hub a client that is refused keeps its messages: its key may just be changing, or a hub on the way
    /// may not know it yet. Only those of a client that the registry has removed are refused for good.
    pub async fn send(&self, identity: &Identity, messages: Vec<Message>) -> Result<(), Refusal> {
        let sent = match self.attachment(identity).await {
            Ok((attachment, _used)) => self.gateway.send(&attachment.client, messages).await,
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
        let (attachment, _used) = self.attachment(identity).await?;
        let start_ms = self.metrics.registry.now_ms();
        let twin = self.gateway.twin(&attachment.client).await?;
        self.metrics.read_twin(UPSTREAM, identity, start_ms);
        Ok(twin)
    }

    /// Hands on a patch of reported properties.
    pub async fn report(&self, identity: &Identity, patch: Value) -> Result<Option<u64>, Refusal> {
        let (attachment, _used) = self.attachment(identity).await?;
        let start_ms = self.metrics.registry.now_ms();
        let version = self.gateway.report(&attachment.client, patch).await?;
        self.metrics.reported(UPSTREAM, identity, start_ms);
        Ok(version)
    }

    /// Lets the cloud hub reach the client with a feature.
    pub async fn subscribe(&self, identity: &Identity, feature: Feature) -> Result<(), Refusal> {
        let (attachment, _used) = self.attachment(identity).await?;
        self.gateway.subscribe(&attachment, feature).await
    }

    /// Ends a feature.
    pub async fn unsubscribe(&self, identity: &Identity, feature: Feature) -> Result<(), Refusal> {
        let (attachment, _used) = self.attachment(identity).await?;
        self.gateway.unsubscribe(&attachment, feature).await
    }

    /// Ends the client's connection, if there is one, after what it is used for now.
    pub async fn disconnect(&self, identity: &Identity) {
        let Some(connection) = self.lock().get(identity).cloned() else { return };
        // The sender lives as long as the connection, which is held here.
        let _ = connection.uses.subscribe().wait_for(|count| *count == 0).await;
        self.end(identity, &connection).await;
    }

    /// Ends connections that are not used now, except those of such clients.
    pub async fn close_unused(&self, except: impl Fn(&Identity) -> bool) {
        let unused: Vec<_> = {
            let connections = self.lock();
            let unused = connections.iter().filter(|(_, connection)| *connection.uses.borrow() == 0);
            unused.map(|(identity, connection)| (identity.clone(), Arc::clone(connection))).collect()
        };
        for (identity, connection) in unused.iter().filter(|(identity, _)| !except(identity)) {
            self.end(identity, connection).await;
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        let connections = std::mem::take(&mut *self.lock());
        for attachment in connections.values().filter_map(|connection| connection.attachment.get()) {
            self.gateway.detach(attachment).await;
        }
    }

    /// Ends a connection, unless another one took its place.
    async fn end(&self, identity: &Identity, connection: &Arc<Connection>) {
        let is_current = {
            let mut connections = self.lock();
            let is_current = connections.get(identity).is_some_and(|current| Arc::ptr_eq(current, connection));
            if is_current {
                connections.remove(identity);
            }
            is_current
        };
        if let (true, Some(attachment)) = (is_current, connection.attachment.get()) {
            self.gateway.detach(attachment).await;
        }
    }

    /// A connection, which is not ended by [`Self::disconnect`] while it is used.
    async fn attachment(&self, identity: &Identity) -> Result<(Attachment, Use), Refusal> {
        let connection = Arc::clone(self.lock().entry(identity.clone()).or_default());
        let used = Use::new(Arc::clone(&connection));
        let attachment = connection.attachment.get_or_try_init(|| self.attach(identity)).await.cloned()?;
        if self.lock().get(identity).is_some_and(|current| Arc::ptr_eq(current, &connection)) {
            return Ok((attachment, used));
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
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
        let link = Self { identity: self.identity.clone(), downstream: self.downstream.clone() };
        tokio::spawn(async move {
            for (delivery, receipt) in deliveries {
                if let Ok(settlement) = link.deliver_one(delivery).await {
                    receipt.settle(settlement);
                }
            }
        });
    }

    /// Who stops waiting has lost the message, and will send it again: nothing of it may go on here.
    async fn deliver_one(&self, delivery: Delivery) -> Result<Settlement, LinkClosed> {
        match delivery.destination {
            Destination::CloudToDevice => {
                let downstream = self.downstream.upgrade().ok_or(LinkClosed)?;
                downstream.cloud_to_device(&self.identity, delivery).await
            }
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

    fn interrupted(&self) {
        if let Some(downstream) = self.downstream.upgrade() {
            downstream.interrupted(&self.identity);
        }
    }

    async fn reconnected(&self) {
        if let Some(downstream) = self.downstream.upgrade() {
            downstream.reconnected(&self.identity).await;
        }
    }

    fn close(&self, _reason: CloseReason) {}
}
