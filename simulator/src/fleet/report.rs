//! What became of a roll-out: that part of a fleet's state which does not depend on when it is looked at. Fleets of the same
//! seed to which the same was done have the same report, in however many processes they run.

use std::collections::BTreeMap;

use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::status::{self, Progress};
use super::tally::{Tally, hexadecimal};

/// What an agent says while it is at work.
const IN_PROGRESS: i64 = 406;

/// The outcome of a roll-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    /// What the fleet is called.
    pub fleet: String,
    /// Whether all is done that was to be done.
    pub settled: bool,
    /// What is not, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// What equal outcomes have in common, and no others: SHA-256 over all that follows, in hexadecimal digits.
    pub digest: String,
    /// What came out.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The seed that all chance follows from.
    pub seed: u64,
    /// The configurations, by name.
    pub configurations: BTreeMap<String, Progress>,
    /// Devices on which something is wrong.
    pub failing: usize,
    /// Messages that reached the cloud hub, each counted once; none where modules send without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// The devices, by name.
    pub devices: BTreeMap<String, DeviceOutcome>,
}

/// What became of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceOutcome {
    /// Whether its agent is connected.
    pub connected: bool,
    /// Its tags.
    pub tags: Map<String, Value>,
    /// The configurations that are applied to it.
    pub configurations: Vec<String>,
    /// What its agent says of its deployment, as a status of HTTP; none without a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<i64>,
    /// Its modules, by name.
    pub modules: BTreeMap<String, ModuleOutcome>,
}

/// What became of a module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleOutcome {
    /// `failing` where the agent starts it again and again, else what the agent says of it; empty for one that is gone.
    pub status: String,
    /// How many messages of it reached the cloud hub, each counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// A digest of what they said, without times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// How far the agents of a fleet are.
#[derive(Debug, Default)]
struct Open {
    connecting: usize,
    applying: usize,
}

/// Looks at a fleet's devices. The second of the results says what is not done yet; messages are not thought of.
pub fn report(
    cloud: &CloudHub,
    seed: u64,
    devices: &[DeviceId],
    is_online: impl Fn(&DeviceId) -> bool,
    tally: Option<&Tally>,
) -> (Outcome, Option<String>) {
    let mut open = Open::default();
    let outcomes: BTreeMap<String, DeviceOutcome> = devices
        .iter()
        .map(|device| (device.to_string(), look(cloud, device, is_online(device), tally, &mut open)))
        .collect();
    let is_failing = |device: &&DeviceOutcome| {
        device.deployment.is_some_and(|code| code != 200)
            || device.modules.values().any(|module| module.status == FAILING)
    };
    let messages = outcomes.values().flat_map(|device| device.modules.values()).filter_map(|module| module.messages);
    let outcome = Outcome {
        seed,
        configurations: status::progress(cloud),
        failing: outcomes.values().filter(is_failing).count(),
        messages: tally.map(|_| messages.sum()),
        devices: outcomes,
    };
    let waiting_for = match open {
        Open { connecting: 0, applying: 0 } => None,
        Open { connecting: 0, applying } => Some(format!("{applying} devices to apply their deployments")),
        Open { connecting, .. } => Some(format!("{connecting} devices to connect")),
    };
    (outcome, waiting_for)
}

/// What is said of modules that do not run as they should.
const FAILING: &str = "failing";

fn look(cloud: &CloudHub, device: &DeviceId, is_online: bool, tally: Option<&Tally>, open: &mut Open) -> DeviceOutcome {
    let agent = Identity::module(device.clone(), ModuleId::edge_agent());
    let connected = cloud.is_connected(&agent);
    open.connecting += usize::from(is_online && !connected);
    let tags = cloud.twin_of(&Identity::device(device.clone())).map(|twin| sorted(&twin.tags)).unwrap_or_default();
    let (mut deployment, mut modules) = (None, BTreeMap::<String, ModuleOutcome>::new());
    if let Ok(twin) = cloud.twin_of(&agent) {
        let reported = &twin.reported.properties;
        let found = status::modules(reported).into_iter().map(|(name, report)| {
            let status = match status::text(report, "runtimeStatus") {
                "backoff" | "failed" | "unhealthy" => FAILING,
                status => status,
            };
            (name.clone(), ModuleOutcome { status: status.to_owned(), ..ModuleOutcome::default() })
        });
        modules.extend(found);
        let status = reported.get("lastDesiredStatus");
        let code = status.and_then(|status| status.get("code")).and_then(Value::as_i64);
        let version = reported.get("lastDesiredVersion").and_then(Value::as_u64);
        let has_deployment = !twin.desired.properties.is_empty();
        deployment = code.filter(|_| has_deployment);
        let is_done = version == Some(twin.desired.version) && code != Some(IN_PROGRESS);
        open.applying += usize::from(is_online && has_deployment && !is_done);
    }
    if let Some(tally) = tally {
        for module in modules.values_mut() {
            module.messages = Some(0);
        }
        for (name, (messages, content)) in tally.of(device.as_str()) {
            let module = modules.entry(name).or_default();
            (module.messages, module.content) = (Some(messages), Some(content));
        }
    }
    let configurations = cloud.configurations().applied_to(&agent).as_ref().clone();
    DeviceOutcome { connected, tags, configurations, deployment, modules }
}

/// The same, in the order of names at all depths.
fn sorted(map: &Map<String, Value>) -> Map<String, Value> {
    let entries: BTreeMap<&String, &Value> = map.iter().collect();
    let entries = entries.into_iter().map(|(name, value)| {
        let value = value.as_object().map_or_else(|| value.clone(), |inner| Value::Object(sorted(inner)));
        (name.clone(), value)
    });
    entries.collect()
}

impl Outcome {
    /// What equal outcomes have in common.
    pub fn digest(&self) -> String {
        // Maps are sorted, so that equal outcomes are equal texts.
        hexadecimal(digest(&SHA256, serde_json::to_string(self).unwrap_or_default().as_bytes()).as_ref())
    }
}
