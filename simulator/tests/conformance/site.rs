//! A cloud hub and an edge hub with all their listeners.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use edgectl_hub::auth::Authentication;
use edgectl_hub::clock::Clock;
use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::{CloudHub, CloudHubOptions};
use edgectl_hub::cloud::registry::Wanted;
use edgectl_hub::cloud::twins::Change;
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubOptions};
use edgectl_hub::gateway::Gateway;
use edgectl_hub::hand_clock::HandClock;
use edgectl_schemas::ids::{Identity, ModuleId};
use edgectl_schemas::sas::{SharedKey, encoded_audience, make_token};
use edgectl_simulator::authority::Authority;
use edgectl_simulator::client::cloud_gateway::{CloudGateway, CloudGatewayOptions};
use edgectl_simulator::client::registry::{RegistryClient, http};
use edgectl_simulator::client::token::KeyTokens;
use edgectl_simulator::frontend::amqp::connection::Hub as AmqpHub;
use edgectl_simulator::frontend::http::serve::Door;
use edgectl_simulator::frontend::http::service::{self, Service};
use edgectl_simulator::frontend::{amqp, http, mqtt};
use edgectl_simulator::link::Link;
use edgectl_simulator::listen;
use edgectl_simulator::tls::{ServerTls, client_config};
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::door::soon;
use crate::table::Hub;

/// The cloud hub's name.
pub const HOST: &str = "hub.example";
/// The name of both hubs' listeners, and the edge hub's own.
pub const ADDRESS: &str = "127.0.0.1";

/// An identity of the tests.
pub fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

/// Where a hub listens.
#[derive(Debug, Clone, Copy)]
pub struct Listeners {
    /// MQTT.
    pub mqtt: SocketAddr,
    /// AMQP.
    pub amqp: SocketAddr,
    /// HTTPS.
    pub https: SocketAddr,
}

/// A cloud hub with the edge device `edge`, its modules `m1` and `m2`, and leaf devices.
pub struct Site {
    /// The cloud hub.
    pub cloud: Arc<CloudHub>,
    /// Its listeners.
    pub cloud_at: Listeners,
    /// The edge hub.
    pub edge: Arc<EdgeHub>,
    /// Its listeners.
    pub edge_at: Listeners,
    /// Signs for servers, and for the clients that both hubs know.
    pub authority: Arc<Authority>,
    /// The time of both hubs and of all on the way between them.
    pub clock: Arc<HandClock>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    _directory: TempDir,
}

impl Site {
    /// Starts both.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Arc::new(
            Authority::open(&directory.path().join("authority"), &id("edge").device, Timestamp::now()).unwrap(),
        );
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let clock = HandClock::begin();
        let listening =
            Listening { authority: &authority, clock: Arc::clone(&clock) as _, shutdown: &shutdown, tasks: &tasks };
        let link = || Link::new(0, Arc::clone(&clock) as _);

        let folder = |name| {
            let folder = directory.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let options = CloudHubOptions {
            host: HOST.to_owned(),
            directory: folder("cloud"),
            owner_key: SharedKey::from_bytes(*b"owner"),
        };
        let cloud = CloudHub::open(options, Arc::clone(&clock) as _).unwrap();
        cloud.put_identity(&id("edge"), Wanted { edge: Some(true), ..Wanted::default() }, None).unwrap();
        for module in ["edge/m1", "edge/m2"] {
            cloud.put_identity(&id(module), Wanted::default(), None).unwrap();
        }
        let service = Service { hub: Arc::clone(&cloud) };
        let cloud_at = listening.start(Arc::clone(&cloud) as _, service::router(service)).await;

        let key = |identity: &str| key_of(&cloud, identity);
        let tls = client_config(authority.trust_bundle()).unwrap();
        let tokens = |identity: &str| Arc::new(KeyTokens::new(HOST, &id(identity), key(identity)));
        let registry =
            RegistryClient::new(cloud_at.https, link(), http(&tls).unwrap(), id("edge").device, tokens("edge"));
        let upstream = CloudGateway::new(CloudGatewayOptions {
            link: link(),
            hub_host: HOST.to_owned(),
            address: cloud_at.mqtt,
            server_name: server_name(),
            tls,
            actor: id("edge/$edgeHub"),
            tokens: tokens("edge/$edgeHub"),
        });
        let options = EdgeHubOptions {
            device: id("edge").device,
            hub_host: HOST.to_owned(),
            gateway_host: ADDRESS.to_owned(),
            durability: edgectl_hub::edge::store::durability::Durability::default(),
            directory: Some(folder("edge")),
        };
        let edge = EdgeHub::start(options, upstream, Arc::new(registry), Arc::clone(&clock) as _).await.unwrap();
        let calls = http::gateway::router(Arc::clone(&edge) as _, id("edge").device);
        let edge_at = listening.start(Arc::clone(&edge) as _, calls).await;
        Self { cloud, cloud_at, edge, edge_at, authority, clock, shutdown, tasks, _directory: directory }
    }

    /// Registers a device below the edge device.
    pub fn add_leaf(&self, name: &str, authentication: Option<Authentication>) {
        let scope = self.cloud.registry().require(&id("edge")).unwrap().scope.clone();
        self.cloud.put_identity(&id(name), Wanted { scope, authentication, ..Wanted::default() }, None).unwrap();
    }

    /// Registers a module of the edge device.
    pub fn add_module(&self, identity: &str) {
        self.cloud.put_identity(&id(identity), Wanted::default(), None).unwrap();
    }

    /// Both hubs' listeners.
    pub fn hubs(&self) -> [Listeners; 2] {
        [self.cloud_at, self.edge_at]
    }

    /// A hub's listeners.
    pub fn at(&self, hub: Hub) -> Listeners {
        match hub {
            Hub::Edge => self.edge_at,
            Hub::Cloud => self.cloud_at,
        }
    }

    /// Deploys routes, by their names, and waits until they are in force.
    pub async fn route(&self, routes: impl IntoIterator<Item = (String, String)>) {
        let routes: serde_json::Map<String, Value> =
            routes.into_iter().map(|(name, route)| (name, Value::String(route))).collect();
        let desired = json!({
            "schemaVersion": "1.1",
            "routes": routes,
            "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 },
        });
        let change = Change { desired: Some(desired), replace: true, ..Change::default() };
        let mut events = self.edge.ledger().listen();
        let twin = self.cloud.change_twin(&id("edge/$edgeHub"), &change, None).unwrap();
        let version = twin.for_device()["desired"]["$version"].as_u64();
        soon(async {
            while self.edge.status().desired_version < version {
                events.recv().await.unwrap();
            }
        })
        .await;
        assert_eq!(self.edge.status().refused, None);
    }

    /// Sends all that comes to the edge hub to the cloud.
    pub async fn route_all_up(&self) {
        self.route([("up".to_owned(), "FROM /* INTO $upstream".to_owned())]).await;
    }

    /// Changes a client's desired properties.
    pub fn desire(&self, identity: &str, patch: Value) {
        let change = Change { desired: Some(patch), ..Change::default() };
        self.cloud.change_twin(&id(identity), &change, None).unwrap();
    }

    /// Waits for messages of a client at the cloud hub; those of such a kind that are there when there are so many.
    pub async fn received(&self, identity: &str, count: usize) -> Vec<Value> {
        let mut next = self.cloud.events().next_number();
        let waiting = async {
            loop {
                next.borrow_and_update();
                let events = self.events_of(identity);
                if events.len() >= count {
                    break events;
                }
                next.changed().await.unwrap();
            }
        };
        let events = soon(waiting).await;
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    /// All messages at the cloud hub; what it tells itself is none.
    pub fn events(&self) -> Vec<ReceivedEvent> {
        let mut events = self.cloud.events().read(0, 100_000).unwrap();
        events.retain(|event| event.source.is_none());
        events
    }

    /// The messages of a client at the cloud hub.
    pub fn events_of(&self, identity: &str) -> Vec<Value> {
        let from = id(identity);
        let events = self.cloud.events().read(0, 100_000).unwrap().into_iter();
        let its_own = |event: &ReceivedEvent| {
            (event.device_id.as_str(), event.module_id.as_deref())
                == (from.device.as_str(), from.module.as_ref().map(ModuleId::as_str))
                && event.source.is_none()
        };
        events.filter(its_own).map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    /// The first key of an identity.
    pub fn key(&self, identity: &str) -> SharedKey {
        key_of(&self.cloud, identity)
    }

    /// A token that is good for ten minutes.
    pub fn token(&self, identity: &str) -> String {
        self.token_for(identity, 600)
    }

    /// A token that is good for so many seconds.
    pub fn token_for(&self, identity: &str, seconds: u64) -> String {
        let end = self.clock.now_seconds() + seconds;
        make_token(&self.key(identity), &encoded_audience(HOST, &id(identity)), end, None)
    }

    /// Ends everything.
    pub async fn stop(&self) {
        self.edge.stop().await;
        self.cloud.stop().await;
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The name in the certificates of all listeners.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(ADDRESS).unwrap()
}

fn key_of(cloud: &CloudHub, identity: &str) -> SharedKey {
    cloud.registry().require(&id(identity)).unwrap().record.keys().remove(0)
}

struct Listening<'a> {
    authority: &'a Arc<Authority>,
    clock: Arc<dyn Clock>,
    shutdown: &'a CancellationToken,
    tasks: &'a TaskTracker,
}

impl Listening<'_> {
    async fn start(&self, gateway: Arc<dyn Gateway>, paths: axum::Router) -> Listeners {
        let clock = Arc::clone(&self.clock);
        let tls = ServerTls::new(self.authority, &[ADDRESS], &clock).unwrap();
        let bind = async || listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let (mqtt, amqp, https) = (bind().await, bind().await, bind().await);
        let [mqtt_at, amqp_at, https_at] = [&mqtt, &amqp, &https].map(|listener| listener.local_addr().unwrap());
        let at = Listeners { mqtt: mqtt_at, amqp: amqp_at, https: https_at };
        let router = paths.merge(http::device::router(Arc::clone(&gateway)));
        let door = Door { router, hub: AmqpHub::of_clients(Arc::clone(&gateway)), clock: Arc::clone(&clock) };
        let (tls_too, end) = (|| Arc::clone(&tls), || self.shutdown.clone());
        let (hub, time) = (Arc::clone(&gateway), Arc::clone(&clock));
        self.tasks.spawn(listen::accept(mqtt, tls_too(), end(), move |stream, certificate, end| {
            mqtt::connection::serve(stream, certificate, Arc::clone(&hub), Arc::clone(&time), end)
        }));
        self.tasks.spawn(listen::accept(amqp, tls_too(), end(), move |stream, certificate, end| {
            amqp::connection::serve(
                stream,
                certificate,
                AmqpHub::of_clients(Arc::clone(&gateway)),
                Arc::clone(&clock),
                end,
            )
        }));
        self.tasks.spawn(listen::accept(https, tls_too(), end(), move |stream, certificate, end| {
            http::serve::serve(stream, certificate, door.clone(), end)
        }));
        at
    }
}
