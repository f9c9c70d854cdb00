//! A device with its hub, and the cloud hub it belongs to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::Clock as _;
use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::{CloudHub, CloudHubOptions};
use edgectl_hub::cloud::registry::Wanted;
use edgectl_hub::cloud::twins::Change;
use edgectl_hub::edge::hub::{EdgeHub, EdgeHubOptions, EdgeHubStatus};
use edgectl_hub::edge::store::durability::Durability;
use edgectl_hub::gateway::{Client, Credential, Feature, Gateway, Refusal, SessionKind};
use edgectl_hub::hand_clock::HandClock;
use edgectl_hub::message::Message;
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::{SharedKey, encoded_audience, make_token};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::peer::Peer;
use super::way::{CloudScope, ParentScope, Way};

/// The cloud hub's name.
pub const HOST: &str = "hub.example";
const GATEWAY_HOST: &str = "127.0.0.1";
const FOREVER: Duration = Duration::from_mins(5);

/// An identity of the tests.
pub fn id(text: &str) -> Identity {
    Identity::parse(text).expect("an identity")
}

/// The device `edge` with the modules `source` and `sink`.
pub struct Device {
    /// The cloud hub.
    pub cloud: Arc<CloudHub>,
    /// Between the two.
    pub way: Arc<Way>,
    /// The edge hub.
    pub hub: Arc<EdgeHub>,
    name: String,
    clock: Arc<HandClock>,
}

impl Device {
    /// A new device with routes, connected and configured.
    pub async fn start(directory: &Path, routes: Value) -> Self {
        let clock = HandClock::begin();
        let cloud = open_cloud(directory, &clock);
        let edge = Wanted { edge: Some(true), ..Wanted::default() };
        cloud.put_identity(&id("edge"), edge, None).expect("a device");
        cloud.put_identity(&id("stranger"), Wanted::default(), None).expect("a device");
        for module in ["edge/source", "edge/sink"] {
            cloud.put_identity(&id(module), Wanted::default(), None).expect("a module");
        }
        route(&cloud, "edge", routes);
        let device = Self::join(directory, cloud, clock, true).await;
        device.until(|status| status.desired_version == Some(2)).await;
        device
    }

    /// A device whose hub runs again on what it kept, with the way to the cloud open or not.
    pub async fn reopen(directory: &Path, open: bool) -> Self {
        let clock = HandClock::begin();
        Self::join(directory, open_cloud(directory, &clock), clock, open).await
    }

    async fn join(directory: &Path, cloud: Arc<CloudHub>, clock: Arc<HandClock>, open: bool) -> Self {
        let above = CloudScope { cloud: Arc::clone(&cloud), device: id("edge").device };
        let own = token(&cloud, &id("edge/$edgeHub"), u64::MAX / 2);
        let way = Way::new(Arc::clone(&cloud) as _, Arc::new(above), own, open);
        Self::begin(directory, "edge", cloud, way, clock).await
    }

    /// A device below this one, registered and configured, with the module `source`.
    pub async fn start_below(&self, directory: &Path, name: &str, routes: Value) -> Self {
        let scope = self.cloud.registry().require(&id(&self.name)).expect("a device").scope.clone();
        let below = Wanted { edge: Some(true), parents: Some(scope.into_iter().collect()), ..Wanted::default() };
        self.cloud.put_identity(&id(name), below, None).expect("a device");
        self.cloud.put_identity(&id(&format!("{name}/source")), Wanted::default(), None).expect("a module");
        route(&self.cloud, name, routes);
        let above = ParentScope { hub: Arc::clone(&self.hub), device: id(name).device };
        let own = token(&self.cloud, &id(&format!("{name}/$edgeHub")), u64::MAX / 2);
        let way = Way::new(Arc::clone(&self.hub) as _, Arc::new(above), own, true);
        let device = Self::begin(directory, name, Arc::clone(&self.cloud), way, Arc::clone(&self.clock)).await;
        device.until(|status| status.desired_version == Some(2)).await;
        device
    }

    /// Registers a leaf device.
    pub fn add_leaf(&self, leaf: &str) {
        let scope = self.cloud.registry().require(&id(&self.name)).expect("a device").scope.clone();
        self.cloud.put_identity(&id(leaf), Wanted { scope, ..Wanted::default() }, None).expect("a leaf device");
    }

    /// Sends a text from the cloud to a device.
    pub fn send_to(&self, device: &str, text: &str) {
        self.cloud.send_to_device(&id(device).device, Message::new(text.to_owned())).expect("its queue takes it");
    }

    async fn begin(directory: &Path, name: &str, cloud: Arc<CloudHub>, way: Arc<Way>, clock: Arc<HandClock>) -> Self {
        let folder = directory.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let options = EdgeHubOptions {
            device: DeviceId::new(name).expect("an identifier"),
            hub_host: HOST.to_owned(),
            gateway_host: GATEWAY_HOST.to_owned(),
            directory: Some(folder),
            durability: Durability::default(),
        };
        let hub = EdgeHub::start(options, Arc::clone(&way) as _, Arc::clone(&way) as _, Arc::clone(&clock) as _)
            .await
            .expect("the hub starts");
        Self { name: name.to_owned(), cloud, way, hub, clock }
    }

    /// Changes the routes.
    pub fn route(&self, routes: Value) {
        route(&self.cloud, &self.name, routes);
    }

    /// Proves to the edge hub who a client is.
    pub async fn authenticate(&self, identity: &str) -> Result<Client, Refusal> {
        let identity = id(identity);
        let token = token(&self.cloud, &identity, self.clock.now_seconds() + 3600);
        self.hub.authenticate(&identity, &Credential::Token(token)).await
    }

    /// Connects a client to the edge hub with features.
    pub async fn connect(&self, identity: &str, features: &[Feature]) -> Peer {
        self.connect_as(identity, SessionKind::Clean, features).await
    }

    /// Connects a client to the edge hub with a kind of session.
    pub async fn connect_as(&self, identity: &str, session: SessionKind, features: &[Feature]) -> Peer {
        let client = self.authenticate(identity).await.expect("a client of this device");
        let peer = Peer::attach(Arc::clone(&self.hub) as _, &client, session).await;
        for feature in features {
            peer.subscribe(*feature).await.expect("a feature");
        }
        peer
    }

    /// Waits until the hub's status is such.
    pub async fn until(&self, holds: impl Fn(&EdgeHubStatus) -> bool) {
        let mut events = self.hub.ledger().listen();
        let waiting = async {
            while !holds(&self.hub.status()) {
                events.recv().await.expect("the ledger goes on");
            }
        };
        let waited = timeout(FOREVER, waiting).await;
        assert!(waited.is_ok(), "it never happened: {:#?}", self.hub.status());
    }

    /// Waits for messages at the cloud hub, and returns all that are there.
    pub async fn received(&self, count: u64) -> Vec<ReceivedEvent> {
        let mut next = self.cloud.events().next_number();
        let sent = || {
            let mut events = self.cloud.events().read(0, 100_000).expect("events");
            // What the hub itself tells is no message.
            events.retain(|event| event.source.is_none());
            events
        };
        timeout(FOREVER, next.wait_for(|_| sent().len() as u64 >= count)).await.expect("they come").expect("the cloud");
        sent()
    }

    /// Waits until a client's reported properties at the cloud hub are such.
    pub async fn until_reported(&self, identity: &str, holds: impl Fn(&Value) -> bool) {
        let identity = id(identity);
        let reported = || self.cloud.twin_of(&identity).expect("a twin").for_device()["reported"].clone();
        self.way.until(|| holds(&reported())).await;
    }

    /// Patches a client's desired properties at the cloud hub.
    pub fn desire(&self, identity: &str, patch: Value) {
        let change = Change { desired: Some(patch), ..Change::default() };
        self.cloud.change_twin(&id(identity), &change, None).expect("a change");
    }
}

/// The token of an identity with the key that the registry has.
pub fn token(cloud: &CloudHub, identity: &Identity, expires_at: u64) -> String {
    let keys = cloud.registry().require(identity).expect("it is registered").record.keys();
    make_token(&keys[0], &encoded_audience(HOST, identity), expires_at, None)
}

/// The texts of received messages.
pub fn texts(events: &[ReceivedEvent]) -> Vec<String> {
    events.iter().map(|event| event.body.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()).collect()
}

fn open_cloud(directory: &Path, clock: &Arc<HandClock>) -> Arc<CloudHub> {
    let directory = directory.join("cloud");
    std::fs::create_dir_all(&directory).expect("a folder");
    let owner_key = SharedKey::from_bytes(*b"owner");
    let options = CloudHubOptions { host: HOST.to_owned(), directory, owner_key };
    CloudHub::open(options, Arc::clone(clock) as _).expect("a cloud hub")
}

fn route(cloud: &CloudHub, device: &str, routes: Value) {
    let desired = json!({
        "schemaVersion": "1.1",
        "routes": routes,
        "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 },
    });
    let change = Change { desired: Some(desired), replace: true, ..Change::default() };
    cloud.change_twin(&id(&format!("{device}/$edgeHub")), &change, None).expect("a change");
}
