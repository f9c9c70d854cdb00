//! The agent's connection to the hub: desired properties in, reported properties out, direct methods answered.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Feature, SessionKind, Settlement};
use edgectl_hub::method::MethodResponse;
use edgectl_schemas::ids::Identity;
use edgectl_schemas::twin;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::above::Above;
use crate::agent::methods::method::{Methods, RESTART_MODULE, known_name};
use crate::agent::metrics::AgentMetrics;
use crate::client::device_client::{ClientError, ClientEvent, ClientOptions, DeviceClient, OnRefusal};
use crate::client::token::TokenSource;
use crate::link::Link;
use crate::provisioning::{Loss, Protocol, Provisioning, is_asked_anew};

/// How long a module that is restarted by a method gets to end.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the hub hears of the agent at least.
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// A report that the hub did not take is tried again after this time.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The connection of `$edgeAgent` to the hub.
#[async_trait]
pub trait AgentConnection: Send + Sync {
    /// Asks to be told.
    async fn subscribe(&self, feature: Feature) -> Result<(), ClientError>;

    /// The twin as devices see it.
    async fn twin(&self) -> Result<Value, ClientError>;

    /// Changes reported properties.
    async fn report(&self, patch: Value) -> Result<(), ClientError>;
}

#[async_trait]
impl AgentConnection for DeviceClient {
    async fn subscribe(&self, feature: Feature) -> Result<(), ClientError> {
        Self::subscribe(self, feature).await
    }

    async fn twin(&self) -> Result<Value, ClientError> {
        Self::twin(self).await
    }

    async fn report(&self, patch: Value) -> Result<(), ClientError> {
        Self::report(self, patch).await.map(drop)
    }
}

/// Connects an agent to the hub above, over and over.
pub fn connect(
    above: &Above,
    link: Link,
    tls: Arc<rustls::ClientConfig>,
    identity: Identity,
    tokens: Arc<dyn TokenSource>,
) -> (DeviceClient, mpsc::Receiver<ClientEvent>) {
    DeviceClient::start(ClientOptions {
        hub_host: above.hub_host.clone(),
        address: above.mqtt,
        link,
        server_name: above.name.clone(),
        identity,
        tls,
        tokens,
        product: concat!("edgectl/", env!("CARGO_PKG_VERSION")).to_owned(),
        auth_chain: None,
        keep_alive: KEEP_ALIVE,
        session: SessionKind::Persistent,
        refusal: OnRefusal::Retry,
    })
}

/// What the link joins.
pub struct AgentLink {
    /// The connection.
    pub client: Arc<dyn AgentConnection>,
    /// Where desired properties go, whole.
    pub desired: watch::Sender<Option<Value>>,
    /// What is called.
    pub methods: Arc<Methods>,
    /// Asks anew who the device is, if it can be anybody else.
    pub provisioning: Option<Arc<Provisioning>>,
    /// Where is counted what happens.
    pub metrics: Arc<AgentMetrics>,
    /// Tells when a report is tried again.
    pub clock: Arc<dyn Clock>,
}

impl AgentLink {
    /// Runs until shutdown.
    pub async fn run(
        self,
        mut events: mpsc::Receiver<ClientEvent>,
        mut reports: mpsc::Receiver<Value>,
        shutdown: CancellationToken,
    ) {
        for feature in [Feature::DesiredProperties, Feature::Methods] {
            if let Err(error) = self.client.subscribe(feature).await {
                tracing::warn!(%error, "the agent cannot subscribe");
            }
        }
        // Reports wait here for the hub, merged into one.
        let mut unsent: Option<Value> = None;
        loop {
            let retry = async {
                match unsent {
                    Some(_) => self.clock.sleep(RETRY_DELAY).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                Some(patch) = reports.recv() => {
                    unsent = Some(match unsent {
                        None => patch,
                        Some(earlier) => twin::merge(&earlier, &patch, false),
                    });
                    self.report(&mut unsent).await;
                }
                () = retry => self.report(&mut unsent).await,
            }
        }
    }

    async fn handle(&self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { .. } => self.pull().await,
            ClientEvent::Desired(patch) => self.patch(patch).await,
            ClientEvent::Method { request, respond } => {
                let (methods, metrics) = (Arc::clone(&self.methods), Arc::clone(&self.metrics));
                tokio::spawn(async move {
                    let (known, start_ms) = (known_name(&request.name), metrics.registry.now_ms());
                    let answer = methods.handle(&request.name, &request.payload).await;
                    if let Some(name) = known {
                        metrics.called(name);
                    }
                    if known == Some(RESTART_MODULE) && answer.status == 200 {
                        metrics.restarted(start_ms);
                    }
                    let payload = answer.payload.map_or_else(bytes::Bytes::new, |payload| payload.to_string().into());
                    // The caller may have given up.
                    let _ = respond.send(MethodResponse { status: answer.status, payload });
                });
            }
            ClientEvent::Delivery(delivery) => delivery.settle(Settlement::Complete),
            ClientEvent::Disconnected { reason } => {
                tracing::info!(reason, "the agent lost the cloud hub");
                self.lost(Loss::CommunicationError).await;
            }
            ClientEvent::Unauthorized { reason } => {
                tracing::error!(reason, "the cloud hub refuses the agent");
                self.lost(Loss::BadCredential).await;
            }
        }
    }

    /// Finds out who the device is now, where that may help.
    async fn lost(&self, loss: Loss) {
        if is_asked_anew(Protocol::Mqtt, loss)
            && let Some(provisioning) = &self.provisioning
            && let Err(error) = provisioning.renew().await
        {
            tracing::warn!(%error, "it cannot be asked anew who the device is");
        }
    }

    /// Reads the whole twin.
    async fn pull(&self) {
        let twin = self.client.twin().await;
        self.metrics.synchronised(twin.is_ok());
        match twin {
            Ok(twin) => drop(self.desired.send_replace(twin.get("desired").cloned())),
            Err(error) => tracing::warn!(%error, "the agent's twin cannot be read"),
        }
    }

    /// Takes a patch if it is the next one, else reads the whole twin.
    async fn patch(&self, patch: Value) {
        let version = |document: &Value| document.get("$version").and_then(Value::as_u64);
        let current = self.desired.borrow().clone();
        match current {
            Some(current) if version(&patch) == version(&current).map(|known| known + 1) => {
                self.metrics.synchronised(true);
                self.desired.send_replace(Some(twin::merge(&current, &patch, true)));
            }
            _ => self.pull().await,
        }
    }

    async fn report(&self, unsent: &mut Option<Value>) {
        let Some(patch) = unsent.take() else { return };
        if let Err(error) = self.client.report(patch.clone()).await {
            tracing::warn!(%error, "the agent's report was not taken");
            *unsent = Some(patch);
        }
    }
}

/// What the hub has of the agent's report, so that only differences are sent. Empty if the hub cannot be reached.
pub async fn reported(client: &dyn AgentConnection) -> Value {
    match client.twin().await {
        Ok(twin) => twin.get("reported").cloned().unwrap_or_else(|| json!({})),
        Err(_) => json!({}),
    }
}
