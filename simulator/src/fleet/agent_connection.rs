//! The connection of a fleet device's agent to the cloud hub, without a network between them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::gateway::{
    Attachment, ClientLink, CloseReason, Delivery, Feature, Gateway as _, LinkClosed, Refusal, SessionKind,
};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_hub::receipt::Receipt;
use edgectl_schemas::ids::Identity;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::admission::admit;
use crate::agent_link::AgentConnection;
use crate::client::device_client::{ClientError, ClientEvent};

/// What comes from the hub waits for the agent in a queue of this length.
const EVENT_QUEUE: usize = 16;
/// An agent that is refused tries again after this time.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// A connection that is made again whenever the hub ends it.
pub struct HubConnection {
    cloud: Arc<CloudHub>,
    identity: Identity,
    events: mpsc::Sender<ClientEvent>,
    attachment: Mutex<Option<Attachment>>,
    closed: Notify,
}

impl HubConnection {
    /// A connection that is not made yet, and what will come from it.
    pub fn new(cloud: Arc<CloudHub>, identity: Identity) -> (Arc<Self>, mpsc::Receiver<ClientEvent>) {
        let (events, received) = mpsc::channel(EVENT_QUEUE);
        let (attachment, closed) = Default::default();
        (Arc::new(Self { cloud, identity, events, attachment, closed }), received)
    }

    /// Connects, and connects again after each end, until the shutdown.
    pub async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            loop {
                match self.connect().await {
                    Ok(session_present) => {
                        let _ = self.events.send(ClientEvent::Connected { session_present }).await;
                        self.closed.notified().await;
                        self.disconnect().await;
                        let reason = "the hub closed the connection".to_owned();
                        let _ = self.events.send(ClientEvent::Disconnected { reason }).await;
                    }
                    Err(refusal) => {
                        let _ = self.events.send(ClientEvent::Unauthorized { reason: refusal.to_string() }).await;
                    }
                }
                self.cloud.clock().sleep(RETRY_DELAY).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
        self.disconnect().await;
    }

    async fn connect(self: &Arc<Self>) -> Result<bool, Refusal> {
        let client = admit(&self.cloud, &self.identity)?;
        let link = Arc::new(Link(Arc::clone(self)));
        let attachment = self.cloud.attach(&client, SessionKind::Clean, link).await?;
        for feature in [Feature::DesiredProperties, Feature::Methods] {
            self.cloud.subscribe(&attachment, feature).await?;
        }
        let session_present = attachment.session_present;
        *self.attached() = Some(attachment);
        Ok(session_present)
    }

    async fn disconnect(&self) {
        let attachment = self.attached().take();
        if let Some(attachment) = attachment {
            self.cloud.detach(&attachment).await;
        }
    }

    fn attached(&self) -> std::sync::MutexGuard<'_, Option<Attachment>> {
        self.attachment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attachment(&self) -> Result<Attachment, ClientError> {
        self.attached().clone().ok_or(ClientError::Offline)
    }
}

#[async_trait]
impl AgentConnection for HubConnection {
    /// All that an agent needs is subscribed with each connection.
    async fn subscribe(&self, _: Feature) -> Result<(), ClientError> {
        Ok(())
    }

    async fn twin(&self) -> Result<Value, ClientError> {
        self.cloud.twin(&self.attachment()?.client).await.map_err(refused)
    }

    async fn report(&self, patch: Value) -> Result<(), ClientError> {
        self.cloud.report(&self.attachment()?.client, patch).await.map(drop).map_err(refused)
    }
}

fn refused(refusal: Refusal) -> ClientError {
    let status = match &refusal {
        Refusal::Unauthorized(_) => 401,
        Refusal::NotFound(_) => 404,
        Refusal::Unavailable(_) => 503,
        _ => 400,
    };
    ClientError::Refused { status, message: refusal.to_string() }
}

/// What the hub asks of the agent.
struct Link(Arc<HubConnection>);

#[async_trait]
impl ClientLink for Link {
    /// An agent has no inputs; receipts that are dropped say so.
    fn deliver(&self, _: Vec<(Delivery, Receipt)>) {}

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        self.0.events.send(ClientEvent::Desired(patch)).await.map_err(|_| LinkClosed)
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        let (respond, answer) = oneshot::channel();
        self.0.events.send(ClientEvent::Method { request, respond }).await.map_err(|_| LinkClosed)?;
        answer.await.map_err(|_| LinkClosed)
    }

    fn close(&self, _: CloseReason) {
        self.0.closed.notify_one();
    }
}
