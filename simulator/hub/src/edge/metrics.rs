//! What the edge hub counts and measures, under the names and labels of the real one.
//!
//! A sender's series are looked up once for the messages that come together, and an endpoint's delivery keeps those of the
//! senders whose messages it hands over: a message costs a few atomic additions.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use edgectl_schemas::ids::Identity;

use super::store::record::QueueKey;
use crate::clock::Clock;
use crate::message::{Message, system};
use crate::metrics::metric::Metric;
use crate::metrics::registry::{MAX_SERIES, OTHER, Registry, seconds_between};
use crate::metrics::series::{Counter, Summary};

/// What stands in labels for the hub above.
pub const UPSTREAM: &str = "upstream";
/// What stands in labels for this hub, where it answers for itself.
pub const EDGE_HUB: &str = "edge_hub";

static MESSAGES_RECEIVED: Metric =
    Metric::counter("edgehub_messages_received_total", &["route_output", "id"], "Messages that came from clients.")
        .with_telemetry();
static MESSAGE_SIZE: Metric =
    Metric::summary("edgehub_message_size_bytes", &["id"], "Size of messages that came from clients.");
static MESSAGES_SENT: Metric = Metric::counter(
    "edgehub_messages_sent_total",
    &["from", "to", "from_route_output", "to_route_input", "priority"],
    "Messages that endpoints acknowledged.",
)
.with_telemetry();
static SEND_DURATION: Metric = Metric::summary(
    "edgehub_message_send_duration_seconds",
    &["from", "to", "from_route_output", "to_route_input"],
    "Time from handing a message to an endpoint until it acknowledged it.",
);
static PROCESS_DURATION: Metric = Metric::summary(
    "edgehub_message_process_duration_seconds",
    &["from", "to", "priority"],
    "Time from taking a message until an endpoint acknowledged it.",
)
.with_telemetry();
static MESSAGES_DROPPED: Metric = Metric::counter(
    "edgehub_messages_dropped_total",
    &["reason", "from", "from_route_output"],
    "Messages that will never arrive.",
);
static MESSAGES_UNACKNOWLEDGED: Metric = Metric::counter(
    "edgehub_messages_unack_total",
    &["reason", "from", "from_route_output"],
    "Messages that were not acknowledged, because they could not be kept.",
);
/// Messages that wait for an endpoint.
pub static QUEUE_LENGTH: Metric =
    Metric::gauge("edgehub_queue_length", &["endpoint", "priority"], "Messages that wait for an endpoint.");
/// Clients that are connected.
pub static CONNECTED_CLIENTS: Metric = Metric::gauge("edgehub_connected_clients", &[], "Clients that are connected.");
static GET_TWIN: Metric =
    Metric::counter("edgehub_gettwin_total", &["source", "id"], "Twins that were read.").with_telemetry();
static GET_TWIN_DURATION: Metric =
    Metric::summary("edgehub_gettwin_duration_seconds", &["source", "id"], "Time that reading a twin took.");
static REPORTED_PROPERTIES: Metric =
    Metric::counter("edgehub_reported_properties_total", &["target", "id"], "Patches of reported properties.")
        .with_telemetry();
static REPORTED_PROPERTIES_DURATION: Metric = Metric::summary(
    "edgehub_reported_properties_update_duration_seconds",
    &["target", "id"],
    "Time that a patch of reported properties took.",
);
static DIRECT_METHODS: Metric =
    Metric::counter("edgehub_direct_methods_total", &["from", "to"], "Direct methods that were called.")
        .with_telemetry();
static DIRECT_METHOD_DURATION: Metric = Metric::summary(
    "edgehub_direct_method_duration_seconds",
    &["from", "to"],
    "Time until a direct method was answered, or not waited for any more.",
);
static CONNECT_SUCCESS: Metric =
    Metric::counter("edgehub_client_connect_success_total", &["id"], "Connections that clients made.");
static CONNECT_FAILED: Metric =
    Metric::counter("edgehub_client_connect_failed_total", &["id", "reason"], "Connections that were refused.");
static DISCONNECTED: Metric =
    Metric::counter("edgehub_client_disconnect_total", &["id"], "Connections of clients that ended.");
static OPERATION_RETRIED: Metric =
    Metric::counter("edgehub_operation_retry_total", &["id", "operation"], "Operations that had to be tried again.");
static OFFLINE_COUNT: Metric =
    Metric::counter("edgehub_offline_count_total", &["id"], "How often the hub above was lost.").with_telemetry();
static OFFLINE_DURATION: Metric =
    Metric::summary("edgehub_offline_duration_seconds", &["id"], "Time until the hub above could be reached again.")
        .with_telemetry();

/// The series of one edge hub.
pub struct Metrics {
    /// All of them.
    pub registry: Registry,
    senders: RwLock<HashMap<Identity, Arc<Sender>>>,
}

impl Metrics {
    /// Nothing counted yet, for a device of a hub.
    pub fn new(hub_host: &str, device: &str, clock: Arc<dyn Clock>) -> Self {
        Self { registry: Registry::new(hub_host, device, clock), senders: RwLock::default() }
    }

    /// The series of a client that sends messages.
    pub fn sender(&self, identity: &Identity) -> Arc<Sender> {
        if let Some(known) = self.senders.read().unwrap_or_else(PoisonError::into_inner).get(identity) {
            return Arc::clone(known);
        }
        let name = identity.to_string();
        let size = self.registry.summary(&MESSAGE_SIZE, &[&name]);
        let sender = Sender { name, size, outputs: RwLock::default() };
        let mut senders = self.senders.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(senders.entry(identity.clone()).or_insert_with(|| Arc::new(sender)))
    }

    /// Messages of one endpoint expired.
    pub fn expired(&self, messages: &[Arc<Message>]) {
        for same in messages.chunk_by(|a, b| Origin::of(a) == Origin::of(b)) {
            let Origin { output, .. } = Origin::of(&same[0]);
            let from = Origin::of(&same[0]).name();
            self.registry.counter(&MESSAGES_DROPPED, &["ttl_expiry", &from, output]).add(same.len());
        }
    }

    /// Messages expired of which only their number is known.
    pub fn expired_unread(&self, count: usize) {
        if count > 0 {
            self.registry.counter(&MESSAGES_DROPPED, &["ttl_expiry", "", ""]).add(count);
        }
    }

    /// A client's twin was read from `source`, which took since `start_ms`.
    pub fn read_twin(&self, source: &str, client: &Identity, start_ms: u64) {
        self.took(&GET_TWIN, &GET_TWIN_DURATION, &[source, &client.to_string()], start_ms);
    }

    /// A patch of a client's reported properties was taken by `target`, which took since `start_ms`.
    pub fn reported(&self, target: &str, client: &Identity, start_ms: u64) {
        self.took(&REPORTED_PROPERTIES, &REPORTED_PROPERTIES_DURATION, &[target, &client.to_string()], start_ms);
    }

    /// A direct method was called, and answered or given up, which took since `start_ms`.
    pub fn called(&self, from: &str, to: &Identity, start_ms: u64) {
        self.took(&DIRECT_METHODS, &DIRECT_METHOD_DURATION, &[from, &to.to_string()], start_ms);
    }

    fn took(&self, counter: &'static Metric, summary: &'static Metric, labels: &[&str], start_ms: u64) {
        self.registry.counter(counter, labels).add(1);
        self.registry.observe_since(&self.registry.summary(summary, labels), start_ms);
    }

    /// A client connected.
    pub fn connected(&self, client: &Identity) {
        self.registry.counter(&CONNECT_SUCCESS, &[&client.to_string()]).add(1);
    }

    /// A client was refused.
    pub fn refused(&self, client: &Identity, reason: &str) {
        self.registry.counter(&CONNECT_FAILED, &[&client.to_string(), reason]).add(1);
    }

    /// A client's connection ended.
    pub fn disconnected(&self, client: &Identity) {
        self.registry.counter(&DISCONNECTED, &[&client.to_string()]).add(1);
    }

    /// Something will be tried again for a client.
    pub fn retried(&self, client: &Identity, operation: &str) {
        self.registry.counter(&OPERATION_RETRIED, &[&client.to_string(), operation]).add(1);
    }

    /// The hub above was lost.
    pub fn went_offline(&self, own: &Identity) {
        self.registry.counter(&OFFLINE_COUNT, &[&own.to_string()]).add(1);
    }

    /// The hub above is back, which was lost at `start_ms`.
    pub fn came_back(&self, own: &Identity, start_ms: u64) {
        self.registry.observe_since(&self.registry.summary(&OFFLINE_DURATION, &[&own.to_string()]), start_ms);
    }
}

/// The series of a client that sends messages.
pub struct Sender {
    name: String,
    /// Sizes of its messages, in bytes.
    pub size: Arc<Summary>,
    outputs: RwLock<HashMap<Box<str>, Arc<Output>>>,
}

/// The series of one output of a sender.
pub struct Output {
    name: Box<str>,
    /// Messages that came.
    pub received: Arc<Counter>,
    /// Those that no route wanted.
    pub no_route: Arc<Counter>,
    /// Those that could not be kept.
    pub unacknowledged: Arc<Counter>,
}

impl Output {
    /// Its name; empty for a device, and for a module that named none.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Sender {
    /// The series of an output, which is empty for a device.
    pub fn output(&self, metrics: &Metrics, output: &str) -> Arc<Output> {
        let known = self.outputs.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(output) {
            return Arc::clone(known);
        }
        let output = if known.len() < MAX_SERIES { output } else { OTHER };
        drop(known);
        let counter = |metric, labels: &[&str]| metrics.registry.counter(metric, labels);
        let series = Output {
            name: output.into(),
            received: counter(&MESSAGES_RECEIVED, &[output, &self.name]),
            no_route: counter(&MESSAGES_DROPPED, &["no_route", &self.name, output]),
            unacknowledged: counter(&MESSAGES_UNACKNOWLEDGED, &["storage_failure", &self.name, output]),
        };
        let mut outputs = self.outputs.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(outputs.entry(output.into()).or_insert_with(|| Arc::new(series)))
    }
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin<'a> {
    device: &'a str,
    module: Option<&'a str>,
    output: &'a str,
}

impl<'a> Origin<'a> {
    fn of(message: &'a Message) -> Self {
        let get = |name| message.system.get(name);
        Self {
            device: get(system::CONNECTION_DEVICE_ID).unwrap_or_default(),
            module: get(system::CONNECTION_MODULE_ID),
            output: get(system::OUTPUT_NAME).unwrap_or_default(),
        }
    }

    fn name(&self) -> String {
        match self.module {
            None => self.device.to_owned(),
            Some(module) => format!("{}/{module}", self.device),
        }
    }
}

/// What an endpoint's delivery counts and measures. It belongs to one task, and remembers the series of the senders whose
/// messages that hands over.
pub(super) struct Delivered {
    metrics: Arc<Metrics>,
    to: Box<str>,
    input: Box<str>,
    known: Vec<Route>,
    /// Which of them came last: most often the next one is the same.
    last: usize,
}

/// The series of messages from one output to one endpoint with one priority.
struct Route {
    device: Box<str>,
    module: Option<Box<str>>,
    output: Box<str>,
    priority: u32,
    sent: Arc<Counter>,
    send_duration: Arc<Summary>,
    process_duration: Arc<Summary>,
}

impl Route {
    fn is_of(&self, origin: &Origin<'_>, priority: u32) -> bool {
        self.priority == priority
            && *self.device == *origin.device
            && self.module.as_deref() == origin.module
            && *self.output == *origin.output
    }
}

impl Delivered {
    /// Nothing handed over yet to an endpoint, `iothub` or `D/{module}/{input}`.
    pub fn new(metrics: Arc<Metrics>, endpoint: &str) -> Self {
        let (to, input) = endpoint.rsplit_once('/').unwrap_or((UPSTREAM, ""));
        Self { metrics, to: to.into(), input: input.into(), known: Vec::new(), last: 0 }
    }

    /// Messages were handed over and acknowledged: each with when it was taken, and when handed over, in milliseconds since
    /// the Unix epoch.
    pub fn count<'a>(&mut self, queue: &QueueKey, messages: impl Iterator<Item = (&'a Message, u64, u64)>) {
        let now_ms = self.metrics.registry.now_ms();
        let mut together = 0;
        for (message, taken_ms, handed_ms) in messages {
            let origin = Origin::of(message);
            if !self.known.get(self.last).is_some_and(|route| route.is_of(&origin, queue.priority)) {
                self.add(together);
                together = 0;
                self.last = self.find(&origin, queue.priority);
            }
            let route = &self.known[self.last];
            route.send_duration.observe(seconds_between(handed_ms, now_ms), now_ms);
            route.process_duration.observe(seconds_between(taken_ms, now_ms), now_ms);
            together += 1;
        }
        self.add(together);
    }

    fn add(&self, count: usize) {
        if let Some(route) = self.known.get(self.last) {
            route.sent.add(count);
        }
    }

    fn find(&mut self, origin: &Origin<'_>, priority: u32) -> usize {
        if let Some(known) = self.known.iter().position(|route| route.is_of(origin, priority)) {
            return known;
        }
        if self.known.len() == MAX_SERIES {
            self.known.clear();
        }
        let (from, text) = (origin.name(), priority.to_string());
        let registry = &self.metrics.registry;
        self.known.push(Route {
            device: origin.device.into(),
            module: origin.module.map(Into::into),
            output: origin.output.into(),
            priority,
            sent: registry.counter(&MESSAGES_SENT, &[&from, &self.to, origin.output, &self.input, &text]),
            send_duration: registry.summary(&SEND_DURATION, &[&from, &self.to, origin.output, &self.input]),
            process_duration: registry.summary(&PROCESS_DURATION, &[&from, &self.to, &text]),
        });
        self.known.len() - 1
    }
}
