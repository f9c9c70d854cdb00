//! How far a roll-out over a fleet is now.

use std::collections::BTreeMap;

use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A fleet at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// What it is called.
    pub fleet: String,
    /// The seed that all chance follows from.
    pub seed: u64,
    /// Devices of the fleet.
    pub devices: usize,
    /// Of them those whose agents are connected.
    pub connected: usize,
    /// Modules that run, of all devices.
    pub modules_running: usize,
    /// Messages that the cloud hub received since it exists.
    pub received_by_cloud: u64,
    /// How many it received a second, lately.
    pub messages_per_second: f64,
    /// The configurations, by name.
    pub configurations: BTreeMap<String, Progress>,
    /// Devices on which something is wrong, with what, by name.
    pub failing: BTreeMap<String, Vec<String>>,
}

/// How far a configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The higher one wins.
    pub priority: i64,
    /// Whom it is for.
    pub target_condition: String,
    /// The service's counts: `targetedCount`, `appliedCount`, `reportedSuccessfulCount`, `reportedFailedCount`.
    pub counts: BTreeMap<String, usize>,
}

/// Looks at a fleet's devices.
pub fn status(cloud: &CloudHub, fleet: &str, seed: u64, devices: &[DeviceId], messages_per_second: f64) -> FleetStatus {
    let (mut connected, mut modules_running) = (0, 0);
    let mut failing = BTreeMap::new();
    for device in devices {
        let agent = Identity::module(device.clone(), ModuleId::edge_agent());
        connected += usize::from(cloud.is_connected(&agent));
        let Ok(twin) = cloud.twin_of(&agent) else { continue };
        let modules = modules(&twin.reported.properties);
        modules_running += modules.iter().filter(|(_, report)| text(report, "runtimeStatus") == "running").count();
        let wrong = wrong(&twin.reported.properties, &modules);
        if !wrong.is_empty() {
            failing.insert(device.to_string(), wrong);
        }
    }
    FleetStatus {
        fleet: fleet.to_owned(),
        seed,
        devices: devices.len(),
        connected,
        modules_running,
        received_by_cloud: cloud.events().telemetry(),
        messages_per_second,
        configurations: progress(cloud),
        failing,
    }
}

/// How far the configurations of a hub are, by name.
pub(super) fn progress(cloud: &CloudHub) -> BTreeMap<String, Progress> {
    let configurations = cloud.configurations().all().into_iter().map(|configuration| {
        let counts = cloud.system_metrics(&configuration).into_iter().map(|(name, (_, count))| (name, count));
        let progress = Progress {
            priority: configuration.priority,
            target_condition: configuration.target_condition.clone(),
            counts: counts.collect(),
        };
        (configuration.id.clone(), progress)
    });
    configurations.collect()
}

pub(super) fn modules(reported: &Map<String, Value>) -> Vec<(&String, &Value)> {
    reported.get("modules").and_then(Value::as_object).into_iter().flatten().collect()
}

pub(super) fn text<'a>(report: &'a Value, name: &str) -> &'a str {
    report.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What an agent reports that is not as it should be, in words.
pub(super) fn wrong(reported: &Map<String, Value>, modules: &[(&String, &Value)]) -> Vec<String> {
    let status = reported.get("lastDesiredStatus");
    let code = status.and_then(|status| status.get("code")).and_then(Value::as_i64);
    let mut wrong = Vec::new();
    // Without a deployment there is nothing that could be wrong.
    if let (Some(status), true) = (status, !modules.is_empty() && !matches!(code, Some(200) | None)) {
        wrong.push(format!("deployment: {}", text(status, "description")));
    }
    for (name, report) in modules {
        let status = text(report, "runtimeStatus");
        if matches!(status, "backoff" | "failed" | "unhealthy") {
            wrong.push(format!("module {name}: {status}, {}", text(report, "statusDescription")));
        }
    }
    wrong
}
