//! A hub at the other end of a network, as a [`Gateway`]: each client that is attached gets a connection of its own.
//!
//! This is the edge hub's way to the simulated cloud hub, and could as well be its way to the real service: it speaks
//! what a device speaks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::gateway::{
    Attachment, Client, ClientLink, Credential, Delivery, Feature, Gateway, Refusal, SessionKind, Settlement,
};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::device_client::{ClientError, ClientEvent, ClientOptions, DeviceClient, IncomingDelivery, Status};
use super::token::TokenSource;

/// For a first connection, before the hub counts as out of reach.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);
/// For an answer about a twin.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Where the hub is, and who acts.
#[derive(Clone)]
pub struct CloudGatewayOptions {
    /// The hub's name, in user names and tokens.
    pub hub_host: String,
    /// Where its listener is.
    pub address: SocketAddr,
    /// The name that its certificate must have.
    pub server_name: ServerName<'static>,
    /// Whom to trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// The edge hub that acts for its clients.
    pub actor: Identity,
    /// The edge hub's own tokens.
    pub tokens: Arc<dyn TokenSource>,
}

/// Connections to a hub.
pub struct CloudGateway {
    options: CloudGatewayOptions,
    connections: Mutex<HashMap<Identity, (u64, DeviceClient)>>,
    number: AtomicU64,
}

impl CloudGateway {
    /// Connects nothing yet.
    pub fn new(options: CloudGatewayOptions) -> Arc<Self> {
        Arc::new(Self { options, connections: Mutex::default(), number: AtomicU64::new(1) })
    }

    fn connection(&self, identity: &Identity) -> Result<DeviceClient, Refusal> {
        self.lock().get(identity).map(|(_, client)| client.clone()).ok_or(Refusal::Detached)
    }

    /// A connection that is there, or soon will be if it is the first.
    async fn online(&self, identity: &Identity) -> Result<DeviceClient, Refusal> {
        let client = self.connection(identity)?;
        let connected = match client.status() {
            Status::Connected => Ok(()),
            Status::Disconnected => Err(ClientError::Offline),
            Status::Connecting | Status::Unauthorized(_) => {
                timeout(FIRST_CONNECTION, client.wait_connected()).await.unwrap_or(Err(ClientError::Offline))
            }
        };
        connected.map(|()| client).map_err(refusal)
    }

    fn client_options(&self, identity: &Identity) -> ClientOptions {
        let CloudGatewayOptions { hub_host, address, server_name, tls, actor, tokens } = self.options.clone();
        // For itself the edge hub needs no chain.
        let auth_chain = (*identity != actor).then(|| format!("{identity};{}", actor.device));
        ClientOptions {
            hub_host,
            address,
            server_name,
            identity: identity.clone(),
            tls,
            tokens,
            product: concat!("edgectl/", env!("CARGO_PKG_VERSION")).to_owned(),
            auth_chain,
            keep_alive: KEEP_ALIVE,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, (u64, DeviceClient)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Gateway for CloudGateway {
    /// The hub at the other end checks what counts, when the client is attached.
    async fn authenticate(&self, identity: &Identity, _credential: &Credential) -> Result<Client, Refusal> {
        Ok(Client { identity: identity.clone(), expires_at: None })
    }

    /// Returns at once: whether the hub can be reached shows when something is asked of it.
    async fn attach(
        &self,
        client: &Client,
        _session: SessionKind,
        link: Arc<dyn ClientLink>,
    ) -> Result<Attachment, Refusal> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (connection, events) = DeviceClient::start(self.client_options(&client.identity));
        tokio::spawn(hand_on(events, link));
        let old = self.lock().insert(client.identity.clone(), (number, connection));
        if let Some((_, old)) = old {
            old.close().await;
        }
        Ok(Attachment { client: client.clone(), number, session_present: false, features: Vec::new() })
    }

    async fn detach(&self, attachment: &Attachment) {
        let own = {
            let mut connections = self.lock();
            match connections.get(&attachment.client.identity) {
                Some((number, _)) if *number == attachment.number => connections.remove(&attachment.client.identity),
                _ => None,
            }
        };
        if let Some((_, connection)) = own {
            connection.close().await;
        }
    }

    async fn send(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refusal> {
        let connection = self.online(&client.identity).await?;
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            sent.push(connection.enqueue(message).await.map_err(refusal)?);
        }
        for acknowledgement in sent {
            acknowledgement.wait().await.map_err(refusal)?;
        }
        Ok(())
    }

    async fn twin(&self, client: &Client) -> Result<Value, Refusal> {
        let connection = self.online(&client.identity).await?;
        in_time(connection.twin()).await
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        let connection = self.online(&client.identity).await?;
        in_time(connection.report(patch)).await
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        // Remembered without a connection, and done when there is one.
        in_time(self.connection(&attachment.client.identity)?.subscribe(feature)).await
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        in_time(self.connection(&attachment.client.identity)?.unsubscribe(feature)).await
    }

    /// Devices do not call methods through the cloud.
    async fn invoke(&self, _: &Client, target: &Identity, _: MethodRequest) -> Result<MethodResponse, Refusal> {
        Err(Refusal::NotConnected(target.clone()))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, Refusal> {
    timeout(OPERATION_TIMEOUT, work).await.unwrap_or(Err(ClientError::TimedOut)).map_err(refusal)
}

fn refusal(error: ClientError) -> Refusal {
    match error {
        ClientError::Refused { status: 400, message } => Refusal::Invalid(message),
        ClientError::Refused { status: 401, message } => Refusal::Unauthorized(message),
        ClientError::Closed | ClientError::Offline | ClientError::Refused { .. } | ClientError::TimedOut => {
            Refusal::Unavailable(error.to_string())
        }
    }
}

/// Hands what comes from the hub to the link, until the connection is closed.
async fn hand_on(mut events: mpsc::Receiver<ClientEvent>, link: Arc<dyn ClientLink>) {
    while let Some(event) = events.recv().await {
        match event {
            ClientEvent::Connected { .. } => {
                let link = Arc::clone(&link);
                // It reads the twin, whose answer comes through the same connection.
                tokio::spawn(async move { link.reconnected().await });
            }
            ClientEvent::Desired(patch) => {
                let link = Arc::clone(&link);
                tokio::spawn(async move { link.desired_changed(patch).await });
            }
            ClientEvent::Method { request, respond } => {
                let link = Arc::clone(&link);
                tokio::spawn(async move {
                    if let Ok(response) = link.invoke(request).await {
                        // The caller may have given up.
                        let _ = respond.send(response);
                    }
                });
            }
            ClientEvent::Delivery(delivery) => {
                let link = Arc::clone(&link);
                tokio::spawn(async move { deliver(delivery, link.as_ref()).await });
            }
            ClientEvent::Disconnected { reason } => tracing::debug!(reason, "the way to the cloud hub is interrupted"),
            ClientEvent::Unauthorized { reason } => tracing::warn!(reason, "the cloud hub refuses a client"),
        }
    }
}

async fn deliver(mut delivery: IncomingDelivery, link: &dyn ClientLink) {
    let message = Arc::new(std::mem::take(&mut delivery.message));
    let handed = Delivery { destination: delivery.destination.clone(), message, redelivered: delivery.redelivered };
    let settlement = link.deliver_one(handed).await.unwrap_or(Settlement::Abandon);
    delivery.settle(settlement);
}
