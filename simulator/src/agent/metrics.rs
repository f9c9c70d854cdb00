//! What the agent counts and measures, under the names and labels of the real one. Some are the real agent's summaries
//! although they tell of what goes up and down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use edgectl_hub::clock::Clock;
use edgectl_hub::metrics::family::Family;
use edgectl_hub::metrics::metric::Metric;
use edgectl_hub::metrics::registry::{Gauge, Registry, seconds_between};
use serde_json::json;

use crate::agent::deployment::{Deployment, EDGE_AGENT};
use crate::agent::plan::Command;
use crate::agent::report::AgentFacts;
use crate::runtime::module_runtime::{ModuleState, ModuleStatus};

static RUNNING_CORRECTLY: Metric = Metric::gauge(
    "edgeAgent_total_time_running_correctly_seconds",
    &["module_name"],
    "How long a module was deployed and running.",
)
.with_telemetry();
static EXPECTED_RUNNING: Metric = Metric::gauge(
    "edgeAgent_total_time_expected_running_seconds",
    &["module_name"],
    "How long a module was deployed and should have been running.",
)
.with_telemetry();
static MODULE_START: Metric = Metric::counter(
    "edgeAgent_module_start_total",
    &["module_name", "module_version"],
    "How often a module was to be started.",
)
.with_telemetry();
static MODULE_STOP: Metric = Metric::counter(
    "edgeAgent_module_stop_total",
    &["module_name", "module_version"],
    "How often a module was to be stopped.",
)
.with_telemetry();
static MODULE_PREPARE: Metric = Metric::counter(
    "edgeAgent_module_prepare_update_total",
    &["module_name", "module_version"],
    "How often the image of a module was to be made available.",
)
.with_telemetry();
static COMMAND_LATENCY: Metric =
    Metric::summary("edgeAgent_command_latency_seconds", &["command"], "How long a command of the agent took.")
        .with_telemetry();
static SYNCS: Metric = Metric::counter(
    "edgeAgent_iothub_syncs_total",
    &[],
    "How often the agent asked for its twin, or was told of a change.",
)
.with_telemetry();
static FAILED_SYNCS: Metric = Metric::counter(
    "edgeAgent_unsuccessful_iothub_syncs_total",
    &[],
    "How often the agent asked for its twin in vain.",
)
.with_telemetry();
static DEPLOYMENT_TIME: Metric = Metric::summary(
    "edgeAgent_deployment_time_seconds",
    &[],
    "Time from a change of the deployment until all of it was done.",
)
.with_telemetry();
/// The real name begins in lower case, and does not say that it is a total.
static METHOD_INVOCATIONS: Metric = Metric::counter(
    "edgeagent_direct_method_invocations_count",
    &["method_name"],
    "How often a direct method of the agent was called.",
);
static METADATA: Metric = Metric::gauge(
    "edgeAgent_metadata",
    &["edge_agent_version", "experimental_features", "host_information"],
    "What the device is, in the labels.",
);
/// Seconds since the machine was started.
pub static HOST_UPTIME: Metric =
    Metric::gauge("edgeAgent_host_uptime_seconds", &[], "Time since the machine was started.");
/// Seconds since the device was started, in which its daemon is.
pub static DAEMON_UPTIME: Metric =
    Metric::gauge("edgeAgent_iotedged_uptime_seconds", &[], "Time since the device was started.");
/// The labels of a disk.
const DISK: &[&str] = &["disk_name", "disk_filesystem", "disk_filetype"];
/// Bytes that are left on a disk.
pub static AVAILABLE_DISK_SPACE: Metric =
    Metric::summary("edgeAgent_available_disk_space_bytes", DISK, "Space that is left on the device's disk.");
/// Bytes that a disk has.
pub static TOTAL_DISK_SPACE: Metric =
    Metric::gauge("edgeAgent_total_disk_space_bytes", DISK, "Size of the device's disk.");
/// Bytes of memory that are used.
pub static USED_MEMORY: Metric =
    Metric::summary("edgeAgent_used_memory_bytes", &["module_name"], "Memory that all processes use.");
/// Bytes of memory that there are.
pub static TOTAL_MEMORY: Metric =
    Metric::gauge("edgeAgent_total_memory_bytes", &["module_name"], "Memory that there is.");
/// The share of the machine's processors that was used.
pub static USED_CPU: Metric =
    Metric::summary("edgeAgent_used_cpu_percent", &["module_name"], "Share of all processors that all processes use.");
/// Processes and threads.
pub static CREATED_PIDS: Metric =
    Metric::gauge("edgeAgent_created_pids_total", &["module_name"], "Processes and threads of a module.");
/// Bytes read from disks.
pub static TOTAL_DISK_READ: Metric =
    Metric::gauge("edgeAgent_total_disk_read_bytes", &["module_name"], "Bytes that a module has read from disks.");
/// Bytes written to disks.
pub static TOTAL_DISK_WRITE: Metric =
    Metric::gauge("edgeAgent_total_disk_write_bytes", &["module_name"], "Bytes that a module has written to disks.");

/// The modules of the runtime run for as long as the device does.
const RUNTIME: [&str; 2] = [EDGE_AGENT, "edgeHub"];

/// The series of one agent.
pub struct AgentMetrics {
    /// All of them.
    pub registry: Registry,
    /// The labels of [`METADATA`].
    metadata: Vec<String>,
    availability: Mutex<BTreeMap<String, Availability>>,
}

impl std::fmt::Debug for AgentMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AgentMetrics").finish_non_exhaustive()
    }
}

/// How long a module ran, and should have.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the unit is part of what they are")]
struct Availability {
    running_ms: u64,
    expected_ms: u64,
    /// When it was last seen to be expected to run, milliseconds since the Unix epoch.
    seen_ms: Option<u64>,
}

impl Availability {
    /// The module was seen, running or not.
    fn add(&mut self, is_running: bool, now_ms: u64) {
        let passed = self.seen_ms.map_or(0, |seen_ms| now_ms.saturating_sub(seen_ms));
        self.expected_ms += passed;
        self.running_ms += if is_running { passed } else { 0 };
        self.seen_ms = Some(now_ms);
    }
}

impl AgentMetrics {
    /// Nothing counted yet, for a device of a hub.
    pub fn new(hub_host: &str, device: &str, facts: &AgentFacts, clock: Arc<dyn Clock>) -> Self {
        let host = json!({
            "OperatingSystemType": facts.operating_system,
            "Architecture": facts.architecture,
            "Version": facts.runtime_version,
        });
        let metadata = vec![facts.version.clone(), "{}".to_owned(), host.to_string()];
        Self { registry: Registry::new(hub_host, device, clock), metadata, availability: Mutex::default() }
    }

    /// A command for a module of some version was carried out, or failed, and took since `start_ms`.
    pub fn carried_out(&self, command: &Command, version: &str, start_ms: u64) {
        let (word, counter) = match command {
            Command::PrepareUpdate(_) => ("prepareUpdate", Some(&MODULE_PREPARE)),
            Command::Create(_) => ("create", None),
            Command::Update(_) => ("update", None),
            Command::Start(_) => ("start", Some(&MODULE_START)),
            Command::Stop(_) => ("stop", Some(&MODULE_STOP)),
            Command::Remove(_) => ("remove", None),
            // What the agent does with itself and its own books takes no time.
            Command::UpdateEdgeAgent | Command::RecordRestart(_) | Command::ForgetRestarts(_) => return,
        };
        if let (Some(counter), Some(module)) = (counter, command.module()) {
            self.registry.counter(counter, &[module, version]).add(1);
        }
        self.took(word, start_ms);
    }

    /// A module was restarted by hand, which took since `start_ms`.
    pub fn restarted(&self, start_ms: u64) {
        self.took("restart", start_ms);
    }

    fn took(&self, command: &str, start_ms: u64) {
        self.registry.observe_since(&self.registry.summary(&COMMAND_LATENCY, &[command]), start_ms);
    }

    /// The twin was asked for, or a change of it told.
    pub fn synchronised(&self, is_done: bool) {
        self.registry.counter(&SYNCS, &[]).add(1);
        self.registry.counter(&FAILED_SYNCS, &[]).add(usize::from(!is_done));
    }

    /// A deployment that was changed at `start_ms` is done.
    pub fn deployed(&self, start_ms: u64) {
        self.registry.observe_since(&self.registry.summary(&DEPLOYMENT_TIME, &[]), start_ms);
    }

    /// A direct method was called.
    pub fn called(&self, method: &str) {
        self.registry.counter(&METHOD_INVOCATIONS, &[method]).add(1);
    }

    /// The modules that are there were looked at.
    pub fn looked_at(&self, deployment: &Deployment, states: &[ModuleState]) {
        let now_ms = self.registry.now_ms();
        let mut all = self.availability.lock().unwrap_or_else(PoisonError::into_inner);
        let of_device = states.iter().filter_map(|state| {
            let is_running = state.status == ModuleStatus::Running;
            let desired = deployment.modules.get(&state.name)?;
            (desired.status == ModuleStatus::Running).then_some((state.name.as_str(), is_running))
        });
        let seen: BTreeMap<&str, bool> = of_device.chain(RUNTIME.map(|name| (name, true))).collect();
        // Time in which a module is not expected to run counts for nothing.
        let unseen = all.iter_mut().filter(|(name, _)| !seen.contains_key(name.as_str()));
        unseen.for_each(|(_, availability)| availability.seen_ms = None);
        for (name, is_running) in seen {
            all.entry(name.to_owned()).or_default().add(is_running, now_ms);
        }
    }

    /// All metrics, with some that are known only now.
    pub fn families(&self, gauges: Vec<Gauge>) -> Vec<Family> {
        let mut gauges = gauges;
        gauges.push((&METADATA, self.metadata.clone(), 0.0));
        for (name, availability) in self.availability.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let seconds = |milliseconds| seconds_between(0, milliseconds);
            gauges.push((&RUNNING_CORRECTLY, vec![name.clone()], seconds(availability.running_ms)));
            gauges.push((&EXPECTED_RUNNING, vec![name.clone()], seconds(availability.expected_ms)));
        }
        self.registry.families(gauges)
    }
}
