//! The edge hub itself: takes what clients ask, and hands each thing to the room that does it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{Outbound, Target};
use super::metrics::{self, Metrics, Output, Sender};
use super::mirror::Mirror;
use super::report::HubReport;
use super::router::Router;
use super::scope::{Scope, ScopeSource};
use super::settings::Settings;
use super::store::durability::Durability;
use super::store::log::LogError;
use super::store::store::Store;
use super::trail::{Passed, Trace, Trail, Wanted, Way};
use super::twins::Twins;
use super::upstream::Upstream;
use crate::clock::{Clock, within};
use crate::documents::{Documents, DocumentsError};
use crate::event::{Counters, DropReason, Event, Ledger};
use crate::gateway::{CloseReason, Feature, Gateway, Refusal};
use crate::message::{Message, system};
use crate::method::{MethodRequest, MethodResponse};
use crate::metrics::family::Family;
use crate::sessions::Sessions;

/// Reported properties that could not be handed on are tried again after this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The identities in the device's scope are read from the cloud hub this often, as the runtime does by default.
const SCOPE_INTERVAL: Duration = Duration::from_hours(1);

/// Messages that expired while nobody came for them are looked for this often.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// What stands in the trail as the source of a message that was put into an input by hand.
const PUT_BY_HAND: &str = "edgectl message send";

/// What an edge hub needs to know.
#[derive(Debug, Clone)]
pub struct EdgeHubOptions {
    /// The device it runs on.
    pub device: DeviceId,
    /// The cloud hub's host name, which tokens are for.
    pub hub_host: String,
    /// The name that clients of this hub dial; tokens may be for it too.
    pub gateway_host: String,
    /// Where it keeps what it keeps; none for a hub that keeps nothing, not even messages.
    pub directory: Option<PathBuf>,
    /// How safely it keeps messages.
    pub durability: Durability,
}

/// An edge hub could not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeHubError {
    /// Its documents cannot be used.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// Its log of messages cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What an edge hub is doing.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeHubStatus {
    /// What was counted since it started.
    pub counters: Counters,
    /// How safely messages are kept.
    pub durability: Durability,
    /// Messages that wait, by endpoint.
    pub queues: BTreeMap<String, usize>,
    /// Who is connected.
    pub clients: Vec<Identity>,
    /// The routes in force, by name.
    pub routes: BTreeMap<String, String>,
    /// The `$version` of the desired properties last looked at.
    pub desired_version: Option<u64>,
    /// Why they were refused, if they were.
    pub refused: Option<String>,
}

/// The edge hub of one device.
pub struct EdgeHub {
    pub(super) options: EdgeHubOptions,
    pub(super) own: Identity,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) metrics: Arc<Metrics>,
    /// When the way to the hub above was lost, milliseconds since the Unix epoch; none if it is not.
    pub(super) offline_since: Mutex<Option<u64>>,
    pub(super) scope: Scope,
    pub(super) sessions: Arc<Sessions>,
    pub(super) twins: Twins,
    pub(super) upstream: Arc<Upstream>,
    pub(super) mirror: Arc<Mirror>,
    store: Arc<Store>,
    trail: Arc<Trail>,
    outbound: Arc<Outbound>,
    pub(super) settings: Arc<watch::Sender<Settings>>,
    router: RwLock<Arc<Router>>,
    configuration: Mutex<HubReport>,
    /// Endpoints that have a delivery task.
    delivering: Mutex<HashSet<Arc<str>>>,
    /// Reported properties wait to be handed on.
    pub(super) reported: Notify,
    numbers: Numbers,
    tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl EdgeHub {
    /// Opens what was kept and begins to deliver. The cloud hub need not be reachable.
    pub async fn start(
        options: EdgeHubOptions,
        cloud: Arc<dyn Gateway>,
        scope: Arc<dyn ScopeSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, EdgeHubError> {
        let (documents, store) = match &options.directory {
            Some(directory) => (
                Documents::open(&directory.join("documents"))?,
                Store::open(&directory.join("messages"), options.durability)?,
            ),
            None => (Documents::in_memory()?, Store::open(Path::new("memory"), Durability::Memory)?),
        };
        let (documents, store) = (Arc::new(documents), Arc::new(store));
        let sessions = Arc::new(Sessions::open(Arc::clone(&documents))?);
        let scope = Scope::open(options.device.clone(), scope, Arc::clone(&documents), Arc::clone(&clock))?;
        let own = Identity::module(options.device.clone(), ModuleId::edge_hub());
        let trail = Arc::new(Trail::default());
        let (ledger, shutdown) = (Arc::new(Ledger::default()), CancellationToken::new());
        let metrics = Metrics::new(&options.hub_host, options.device.as_str(), Arc::clone(&clock));
        let metrics = Arc::new(metrics);
        let settings = Arc::new(watch::Sender::new(Settings::default()));
        let hub = Arc::new_cyclic(|hub: &std::sync::Weak<Self>| {
            let upstream = Arc::new(Upstream::new(cloud, hub.clone(), Arc::clone(&metrics)));
            let outbound = Arc::new(Outbound {
                store: Arc::clone(&store),
                sessions: Arc::clone(&sessions),
                upstream: Arc::clone(&upstream),
                ledger: Arc::clone(&ledger),
                metrics: Arc::clone(&metrics),
                trail: Arc::clone(&trail),
                settings: Arc::clone(&settings),
                clock: Arc::clone(&clock),
                shutdown: shutdown.clone(),
            });
            let mirror =
                Mirror::new(Arc::clone(&sessions), Arc::clone(&upstream), Arc::clone(&clock), shutdown.clone());
            Self {
                mirror,
                twins: Twins::new(documents, Arc::clone(&upstream), Arc::clone(&metrics)),
                router: RwLock::new(Arc::new(Router::empty())),
                configuration: Mutex::default(),
                delivering: Mutex::default(),
                reported: Notify::new(),
                numbers: Numbers::new(),
                tasks: TaskTracker::new(),
                options,
                own,
                clock,
                ledger,
                metrics,
                offline_since: Mutex::default(),
                scope,
                sessions,
                upstream,
                store,
                trail,
                outbound,
                settings,
                shutdown,
            }
        });
        hub.configure()?;
        hub.resume_deliveries();
        hub.spawn({
            let hub = Arc::clone(&hub);
            async move { hub.hand_on_reported().await }
        });
        hub.spawn({
            let hub = Arc::clone(&hub);
            async move { hub.keep_scope().await }
        });
        hub.spawn({
            let hub = Arc::clone(&hub);
            async move { hub.sweep().await }
        });
        for feature in [Feature::DesiredProperties, Feature::Methods] {
            if let Err(refusal) = hub.upstream.subscribe(&hub.own, feature).await {
                tracing::warn!(%refusal, ?feature, "the cloud hub was not told what the edge hub listens to");
            }
        }
        Ok(hub)
    }

    /// Closes all connections and ends all tasks. What was acknowledged is kept.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        self.sessions.close_all(CloseReason::ShuttingDown);
        self.mirror.close().await;
        self.upstream.close().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What the hub is doing.
    pub fn status(&self) -> EdgeHubStatus {
        let mut queues = BTreeMap::new();
        for (key, length) in self.store.lengths() {
            *queues.entry(key.endpoint.to_string()).or_default() += length;
        }
        let report = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        EdgeHubStatus {
            counters: self.ledger.counters(),
            durability: self.options.durability,
            queues,
            clients: self.sessions.connected(),
            routes: self.router().texts().clone(),
            desired_version: report.version(),
            refused: report.refused(),
        }
    }

    /// Takes over what a deployment sets in the environment of the edge hub's module. Clients that are connected stay.
    pub fn set_environment(&self, environment: &BTreeMap<String, String>) {
        let (settings, wrong) = Settings::read(environment);
        if self.settings.send_replace(settings.clone()) != settings {
            for wrong in wrong {
                tracing::warn!("the environment of edgeHub: {wrong}");
            }
        }
    }

    /// The stream of what happens.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was counted and measured, under the names of the real hub.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub fn metrics(&self) -> Vec<Family> {
        let queues = self.store.queues().into_iter().map(|(key, length)| {
            let labels = vec![key.endpoint.to_string(), key.priority.to_string()];
            (&metrics::QUEUE_LENGTH, labels, length as f64)
        });
        let clients = (&metrics::CONNECTED_CLIENTS, Vec::new(), self.sessions.connected().len() as f64);
        self.metrics.registry.families(queues.chain([clients]))
    }

    /// What became of the last messages.
    pub fn traces(&self, wanted: &Wanted) -> Vec<Trace> {
        self.trail.traces(wanted, &self.store)
    }

    /// Puts a message into an input of a module of this device, as if a route had taken it there. Returns its number in the
    /// trail.
    pub async fn put_into_input(&self, module: &ModuleId, input: &str, message: Message) -> Result<u64, Refusal> {
        let router = self.router();
        let incoming = router.to_input(&self.options.device, module, input, message, self.clock.now_ms());
        self.deliver_to(incoming.targets.iter());
        let (message, target) = (Arc::clone(&incoming.message), incoming.targets.first().cloned());
        let at_ms = incoming.enqueued_ms;
        let offset =
            self.store.append(vec![incoming]).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let from = Arc::new(Identity::device(self.options.device.clone()));
        let passed = target.map(|target| Passed {
            at_ms,
            from,
            source: PUT_BY_HAND.into(),
            message,
            way: Way::Input(target),
            offset: Some(offset),
        });
        Ok(self.trail.passed(passed.into_iter().collect()))
    }

    /// The identities that may connect here.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    fn router(&self) -> Arc<Router> {
        Arc::clone(&self.router.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Compiles the desired properties as they are now; a mistake in them leaves the old routes in force.
    pub(super) fn configure(&self) -> Result<(), DocumentsError> {
        let Some(desired) = self.twins.desired(&self.own)? else { return Ok(()) };
        let version = desired.get("$version").and_then(Value::as_u64).unwrap_or_default();
        if edgectl_schemas::twin::strip_metadata(&desired).as_object().is_none_or(serde_json::Map::is_empty) {
            // Nothing was ever deployed here.
            return Ok(());
        }
        let refused = match Router::compile(&self.options.device, &desired) {
            Ok(router) => {
                if self.options.durability == Durability::Memory {
                    // On disk the real hub does not heed the limit either.
                    self.store.limit(router.limit_bytes(), Durability::Memory);
                }
                *self.router.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(router);
                None
            }
            Err(reason) => {
                tracing::warn!(%reason, "the edge hub's configuration is refused");
                Some(reason)
            }
        };
        let code = if refused.is_none() { 200 } else { 400 };
        self.ledger.record(Event::HubConfigured { version, code });
        let patch = self.configuration.lock().unwrap_or_else(PoisonError::into_inner).configured(version, refused);
        self.report(&patch);
        Ok(())
    }

    /// Adds to what the hub reports of itself.
    pub(super) fn report(&self, patch: &Value) {
        if let Err(refusal) = self.twins.report(&self.own, patch) {
            tracing::warn!(%refusal, "the edge hub's own report");
        }
        self.reported.notify_one();
    }

    async fn hand_on_reported(&self) {
        loop {
            let mut left = false;
            for identity in self.twins.pending().unwrap_or_default() {
                left |= match self.twins.push_reported(&identity).await {
                    Ok(done) => !done,
                    Err(Refusal::Unauthorized(_) | Refusal::NotFound(_)) if self.is_removed(&identity).await => {
                        self.twins.forget(&identity).is_err()
                    }
                    Err(_) => true,
                };
            }
            if left {
                // Back at once when more is reported, or after a while when the cloud could not be reached.
                within(self.clock.as_ref(), REPORT_INTERVAL, self.reported.notified()).await;
            } else {
                self.reported.notified().await;
            }
        }
    }

    /// Keeps the identities fresh. Clients whose proof does not hold against the fresh ones are cut off: they may have been
    /// disabled or removed, or have new keys.
    async fn keep_scope(&self) {
        loop {
            tokio::select! {
                () = self.scope.renewed() => {}
                () = self.clock.sleep(SCOPE_INTERVAL) => {
                    if let Err(refusal) = self.scope.refresh().await {
                        tracing::debug!(%refusal, "the identities cannot be refreshed");
                    }
                    // Messages of clients that are gone make connections that nobody else ends.
                    self.upstream.close_unused(|client| *client == self.own || self.sessions.is_connected(client)).await;
                }
            }
            for identity in self.scope.disproved(&self.hosts()) {
                tracing::warn!(%identity, "the proof of identity does not hold any more");
                self.sessions.disconnect(&identity, CloseReason::Unauthorized);
            }
        }
    }

    /// Whether the registry, asked now, does not let a client connect.
    pub(super) async fn is_removed(&self, identity: &Identity) -> bool {
        self.scope.refresh().await.is_ok() && !self.scope.allows(identity)
    }

    /// The names that tokens may be for.
    pub(super) fn hosts(&self) -> [&str; 2] {
        [&self.options.hub_host, &self.options.gateway_host]
    }

    /// Gives up messages whose time is over, where nobody comes for them.
    async fn sweep(&self) {
        loop {
            self.clock.sleep(SWEEP_INTERVAL).await;
            let expired = self.store.sweep(self.clock.now_ms());
            self.metrics.expired(&expired.messages);
            self.metrics.expired_unread(expired.unread);
            let count = expired.messages.len() + expired.unread;
            self.ledger.record_times(&Event::MessageDropped { reason: DropReason::TtlExpiry }, count);
        }
    }

    /// Starts the delivery of what was kept from an earlier run.
    fn resume_deliveries(&self) {
        for (key, _) in self.store.lengths() {
            self.deliver(&key.endpoint);
        }
    }

    /// Sees to it that all endpoints to which messages go have their delivery tasks.
    fn deliver_to<'a>(&self, targets: impl Iterator<Item = &'a super::store::record::Target>) {
        let mut seen: Vec<&Arc<str>> = Vec::new();
        for target in targets {
            let endpoint = &target.queue.endpoint;
            if !seen.iter().any(|seen| Arc::ptr_eq(seen, endpoint)) {
                seen.push(endpoint);
                self.deliver(endpoint);
            }
        }
    }

    /// Sees to it that an endpoint has its delivery task.
    fn deliver(&self, endpoint: &Arc<str>) {
        let mut delivering = self.delivering.lock().unwrap_or_else(PoisonError::into_inner);
        if !delivering.insert(Arc::clone(endpoint)) {
            return;
        }
        match Target::parse(endpoint) {
            Some(target) => {
                self.tasks.spawn(Arc::clone(&self.outbound).run(Arc::clone(endpoint), target));
            }
            None => tracing::warn!(%endpoint, "messages wait for an endpoint that cannot be"),
        }
    }

    /// Stamps a message that came at `time` with where it came from, as only the hub may.
    pub(super) fn stamp(&self, message: &mut Message, identity: &Identity, time: &str) {
        let system = &mut message.system;
        system.put(system::CONNECTION_DEVICE_ID, Some(identity.device.as_str()));
        match &identity.module {
            Some(module) => system.put(system::CONNECTION_MODULE_ID, Some(module.as_str())),
            None => system.remove(system::CONNECTION_MODULE_ID),
        }
        let mut number = uuid::Uuid::encode_buffer();
        let number = self.numbers.next().hyphenated().encode_lower(&mut number);
        system.put(system::EDGE_MESSAGE_ID, Some(number));
        let own = identity.device == self.options.device && identity.module.is_some();
        system.put(system::EDGE_HUB_ORIGIN, Some(if own { "internal" } else { "downstream" }));
        system.put(system::ENQUEUED_TIME, Some(time));
    }

    /// Routes messages of a client that are stamped already, each with its source, and keeps what a route wants. There is no
    /// sender for notices of the hub's own: one that no route wants is nobody's loss.
    pub(super) async fn take(
        &self,
        identity: &Identity,
        sender: Option<&Sender>,
        messages: Vec<(Arc<str>, Message)>,
    ) -> Result<(), Refusal> {
        let (router, now) = (self.router(), self.clock.now_ms());
        let mut wanted = Vec::with_capacity(messages.len());
        let mut happened = Happened::default();
        let from = Arc::new(identity.clone());
        let mut passed = Vec::with_capacity(messages.len());
        for (source, message) in messages {
            let message = Arc::new(message);
            if let Some(sender) = sender {
                happened.took(sender, &message, &self.metrics);
            }
            let routed = router.route(&source, Arc::clone(&message), now);
            happened.routed(routed.routes);
            // Its offset is known when it is kept; until then it is how many are kept before it.
            let offset = routed.incoming.is_some().then_some(wanted.len() as u64);
            let (from, way) = (Arc::clone(&from), Way::Routes(Arc::clone(&router)));
            if offset.is_some() || sender.is_some() {
                passed.push(Passed { at_ms: now, from, source, message, way, offset });
            }
            match routed.incoming {
                Some(incoming) => wanted.push(incoming),
                None => happened.unwanted(),
            }
        }
        happened.count();
        self.deliver_to(wanted.iter().flat_map(|incoming| &incoming.targets));
        if !wanted.is_empty() {
            let first = self.store.append(wanted).await.map_err(|error| {
                happened.failed();
                Refusal::Unavailable(error.to_string())
            })?;
            for offset in passed.iter_mut().filter_map(|message| message.offset.as_mut()) {
                *offset += first;
            }
        }
        self.trail.passed(passed);
        happened.record(&self.ledger, identity);
        Ok(())
    }

    /// Calls a method of a client that is connected here.
    pub(super) async fn call(&self, target: &Identity, request: MethodRequest) -> Result<MethodResponse, Refusal> {
        let link = match self.sessions.link(target, Feature::Methods) {
            Some(link) => Some(link),
            None => {
                let waiting = self.sessions.wait_for(target, Feature::Methods);
                within(self.clock.as_ref(), request.connect_timeout, waiting).await
            }
        };
        let link = link.ok_or_else(|| Refusal::NotConnected(target.clone()))?;
        match within(self.clock.as_ref(), request.response_timeout, link.invoke(request)).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(_)) | None => Err(Refusal::NoAnswer(target.clone())),
        }
    }

    pub(super) async fn tell_desired(&self, identity: &Identity, patch: Value) {
        if let Some(link) = self.sessions.link(identity, Feature::DesiredProperties) {
            // A client that is just going away reads its whole twin when it is back.
            let _ = link.desired_changed(patch).await;
        }
    }
}

/// What became of messages that came together.
#[derive(Default)]
struct Happened {
    outputs: Vec<Tally>,
    /// Whose output came last.
    last: usize,
    routed: Vec<(Arc<str>, usize)>,
}

/// Messages of one output.
struct Tally {
    output: Arc<Output>,
    received: usize,
    unwanted: usize,
}

impl Happened {
    fn took(&mut self, sender: &Sender, message: &Message, metrics: &Metrics) {
        let output = message.system.get(system::OUTPUT_NAME).unwrap_or_default();
        let is_of = |tally: &Tally| tally.output.name() == output;
        if !self.outputs.get(self.last).is_some_and(is_of) {
            self.last = self.outputs.iter().position(is_of).unwrap_or_else(|| {
                self.outputs.push(Tally { output: sender.output(metrics, output), received: 0, unwanted: 0 });
                self.outputs.len() - 1
            });
        }
        self.outputs[self.last].received += 1;
    }

    /// The last one is wanted by no route.
    fn unwanted(&mut self) {
        if let Some(tally) = self.outputs.get_mut(self.last) {
            tally.unwanted += 1;
        }
    }

    fn routed(&mut self, routes: Vec<Arc<str>>) {
        for route in routes {
            match self.routed.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &route)) {
                Some((_, count)) => *count += 1,
                None => self.routed.push((route, 1)),
            }
        }
    }

    /// Counts what came, whether it can be kept or not.
    fn count(&self) {
        for tally in &self.outputs {
            tally.output.received.add(tally.received);
        }
    }

    /// What a route wants could not be kept.
    fn failed(&self) {
        for tally in &self.outputs {
            tally.output.unacknowledged.add(tally.received - tally.unwanted);
        }
    }

    fn record(self, ledger: &Ledger, from: &Identity) {
        let (mut received, mut unwanted) = (0, 0);
        for tally in &self.outputs {
            tally.output.no_route.add(tally.unwanted);
            (received, unwanted) = (received + tally.received, unwanted + tally.unwanted);
        }
        ledger.record_times(&Event::MessageAccepted { from: from.clone() }, received);
        for (route, count) in self.routed {
            ledger.record_times(&Event::MessageRouted { route }, count);
        }
        ledger.record_times(&Event::MessageDropped { reason: DropReason::NoRoute }, unwanted);
    }
}

/// Numbers for messages: unlike all others by where they begin, which is random, and by counting on from there.
struct Numbers {
    random: [u8; 16],
    count: AtomicU64,
}

impl Numbers {
    fn new() -> Self {
        Self { random: uuid::Uuid::new_v4().into_bytes(), count: AtomicU64::new(0) }
    }

    fn next(&self) -> uuid::Uuid {
        let mut bytes = self.random;
        let count = self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, count) in bytes[8..].iter_mut().zip(count) {
            *byte ^= count;
        }
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
