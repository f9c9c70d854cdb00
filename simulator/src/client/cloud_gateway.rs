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
use edgectl_hub::clock::within;
use edgectl_hub::gateway::{
    Attachment, Client, ClientLink, Credential, Delivery, Feature, Gateway, Refusal, SessionKind,
};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::device_client::{
    ClientError, ClientEvent, ClientOptions, DeviceClient, IncomingDelivery, OnRefusal, Status,
};
use super::token::TokenSource;
use crate::link::Link;

/// For a first connection, before the hub counts as out of reach.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);
/// For an answer about a twin.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Changes of desired properties that may wait for the edge hub.
const NOTICE_QUEUE: usize = 64;

/// Where the hub is, and who acts.
#[derive(Clone)]
pub struct CloudGatewayOptions {
    /// The hub's name, in user names and tokens.
    pub hub_host: String,
    /// Where its listener is.
    pub address: SocketAddr,
    /// The network on the way there.
    pub link: Link,
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
    /// The chains of the clients that the edge hub acts for.
    chains: Mutex<HashMap<Identity, String>>,
    connections: Mutex<HashMap<Identity, Connection>>,
    number: AtomicU64,
}

/// The connection of one client.
struct Connection {
    number: u64,
    client: DeviceClient,
    /// Changes of the twin may have been missed.
    missed: Arc<Notify>,
}

impl CloudGateway {
    /// Connects nothing yet.
    pub fn new(options: CloudGatewayOptions) -> Arc<Self> {
        Arc::new(Self { options, chains: Mutex::default(), connections: Mutex::default(), number: AtomicU64::new(1) })
    }

    fn connection(&self, identity: &Identity) -> Result<DeviceClient, Refusal> {
        self.lock().get(identity).map(|connection| connection.client.clone()).ok_or(Refusal::Detached)
    }

    /// A connection that is there, or soon will be if it is the first.
    async fn online(&self, identity: &Identity) -> Result<DeviceClient, Refusal> {
        let client = self.connection(identity)?;
        let connected = match client.status() {
            Status::Connected => Ok(()),
            Status::Disconnected => Err(ClientError::Offline),
            Status::Connecting | Status::Unauthorized(_) => {
                let clock = self.options.link.clock().as_ref();
                within(clock, FIRST_CONNECTION, client.wait_connected()).await.unwrap_or(Err(ClientError::Offline))
            }
        };
        connected.map(|()| client).map_err(refusal)
    }

    fn client_options(&self, identity: &Identity) -> ClientOptions {
        let CloudGatewayOptions { hub_host, address, link, server_name, tls, actor, tokens } = self.options.clone();
        // For itself the edge hub needs no chain.
        let auth_chain = self.chains.lock().unwrap_or_else(PoisonError::into_inner).get(identity).cloned();
        let auth_chain = auth_chain.filter(|_| *identity != actor);
        ClientOptions {
            hub_host,
            address,
            link,
            server_name,
            identity: identity.clone(),
            tls,
            tokens,
            product: concat!("edgectl/", env!("CARGO_PKG_VERSION")).to_owned(),
            auth_chain,
            keep_alive: KEEP_ALIVE,
            // The edge hub says anew what its clients want whenever one of them connects.
            session: SessionKind::Clean,
            refusal: OnRefusal::Retry,
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, Refusal> {
        let done = within(self.options.link.clock().as_ref(), OPERATION_TIMEOUT, work).await;
        done.unwrap_or(Err(ClientError::TimedOut)).map_err(refusal)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Gateway for CloudGateway {
    /// The hub at the other end checks what counts, when the client is attached.
    async fn authenticate(&self, identity: &Identity, credential: &Credential) -> Result<Client, Refusal> {
        if let Credential::OnBehalfOf { chain, .. } = credential {
            let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
            chains.insert(identity.clone(), chain.clone());
        }
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
        let missed = Arc::new(Notify::new());
        tokio::spawn(hand_on(events, Arc::clone(&missed), link));
        let connection = Connection { number, client: connection, missed };
        let old = self.lock().insert(client.identity.clone(), connection);
        if let Some(old) = old {
            old.client.close().await;
        }
        Ok(Attachment { client: client.clone(), number, session_present: false, features: Vec::new() })
    }

    async fn detach(&self, attachment: &Attachment) {
        let own = {
            let mut connections = self.lock();
            match connections.get(&attachment.client.identity) {
                Some(current) if current.number == attachment.number => connections.remove(&attachment.client.identity),
                _ => None,
            }
        };
        if let Some(own) = own {
            own.client.close().await;
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
        self.in_time(connection.twin()).await
    }

    async fn report(&self, client: &Client, patch: Value) -> Result<Option<u64>, Refusal> {
        let connection = self.online(&client.identity).await?;
        self.in_time(connection.report(patch)).await
    }

    async fn subscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        // Remembered without a connection, and done when there is one.
        let identity = &attachment.client.identity;
        self.in_time(self.connection(identity)?.subscribe(feature)).await?;
        // What changed before the hub knew that somebody listens was not told.
        if let (Feature::DesiredProperties, Some(connection)) = (feature, self.lock().get(identity)) {
            connection.missed.notify_one();
        }
        Ok(())
    }

    async fn unsubscribe(&self, attachment: &Attachment, feature: Feature) -> Result<(), Refusal> {
        self.in_time(self.connection(&attachment.client.identity)?.unsubscribe(feature)).await
    }

    /// Devices do not call methods through the cloud.
    async fn invoke(&self, _: &Client, target: &Identity, _: MethodRequest) -> Result<MethodResponse, Refusal> {
        Err(Refusal::NotConnected(target.clone()))
    }
}

fn refusal(error: ClientError) -> Refusal {
    match error {
        ClientError::Refused { status: 400, message } => Refusal::Invalid(message),
        ClientError::Refused { status: 401, message } => Refusal::Unauthorized(message),
        ClientError::Refused { status: 404, message } => Refusal::NotFound(message),
        ClientError::Closed | ClientError::Offline | ClientError::Refused { .. } | ClientError::TimedOut => {
            Refusal::Unavailable(error.to_string())
        }
    }
}

/// Hands what comes from the hub to the link, until the connection is closed. Calls and messages wait for nothing; what
/// concerns the twin keeps its order.
async fn hand_on(mut events: mpsc::Receiver<ClientEvent>, missed: Arc<Notify>, link: Arc<dyn ClientLink>) {
    let (notices, waiting) = mpsc::channel(NOTICE_QUEUE);
    tokio::spawn(hand_on_notices(waiting, Arc::clone(&missed), Arc::clone(&link)));
    while let Some(event) = events.recv().await {
        match event {
            ClientEvent::Connected { .. } => missed.notify_one(),
            ClientEvent::Desired(patch) => {
                // Reading the twin makes good what is not taken here. To wait would stop the connection, through which
                // the twin is read.
                if notices.try_send(patch).is_err() {
                    missed.notify_one();
                }
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
            ClientEvent::Disconnected { reason } => {
                tracing::debug!(reason, "the way to the hub above is interrupted");
                link.interrupted();
            }
            ClientEvent::Unauthorized { reason } => tracing::warn!(reason, "the hub above refuses a client"),
        }
    }
}

/// Hands changed desired properties to the link one after the other, and tells it when some may have been missed.
async fn hand_on_notices(mut notices: mpsc::Receiver<Value>, missed: Arc<Notify>, link: Arc<dyn ClientLink>) {
    loop {
        tokio::select! {
            biased;
            () = missed.notified() => link.reconnected().await,
            notice = notices.recv() => match notice {
                // The link's end is the edge hub itself, which ends with this connection.
                Some(patch) => drop(link.desired_changed(patch).await),
                None => return,
            },
        }
    }
}

/// Hands a message to the link for as long as it can be settled; what is lost comes again over the next connection.
async fn deliver(mut delivery: IncomingDelivery, link: &dyn ClientLink) {
    let message = Arc::new(std::mem::take(&mut delivery.message));
    let handed = Delivery { destination: delivery.destination.clone(), message, redelivered: delivery.redelivered };
    tokio::select! {
        settlement = link.deliver_one(handed) => if let Ok(settlement) = settlement {
            delivery.settle(settlement);
        },
        () = delivery.lost() => {}
    }
}
