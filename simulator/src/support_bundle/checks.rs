//! What a running device can say of itself without trying anything: is it well?

use serde::Serialize;
use serde_json::Value;

use crate::requests::DeviceStatus;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, in a word that stays.
    pub id: &'static str,
    /// Whether it is as it should be.
    pub is_ok: bool,
    /// How it is.
    pub detail: String,
}

/// Looks at all of a device.
pub fn checks(status: &DeviceStatus) -> Vec<Check> {
    vec![deployment(status), modules(status), connections(status), network(status), queues(status), https(status)]
}

fn deployment(status: &DeviceStatus) -> Check {
    let code = status.deployment.get("code").and_then(Value::as_i64);
    let description = status.deployment.get("description").and_then(Value::as_str).unwrap_or_default();
    let detail = match code {
        None => "no deployment yet".to_owned(),
        Some(200) => format!("version {} is in force", status.deployment_version.unwrap_or_default()),
        Some(code) => format!("{code}: {description}"),
    };
    Check { id: "deployment", is_ok: matches!(code, None | Some(200)), detail }
}

fn modules(status: &DeviceStatus) -> Check {
    let bad: Vec<String> = status
        .modules
        .iter()
        .filter(|module| !matches!(module.status.as_str(), "running" | "stopped"))
        .map(|module| format!("{}: {}", module.name, module.description))
        .collect();
    Check { id: "modules", is_ok: bad.is_empty(), detail: told(bad, "none has failed") }
}

fn connections(status: &DeviceStatus) -> Check {
    let apart = status.modules.iter().filter(|module| module.status == "running" && !module.connected);
    let apart: Vec<String> = apart.map(|module| format!("{} is not connected to the edge hub", module.name)).collect();
    Check { id: "connections", is_ok: apart.is_empty(), detail: told(apart, "all that run are connected") }
}

fn network(status: &DeviceStatus) -> Check {
    let is_ok = status.network == crate::link::Conditions::default();
    let detail = match (status.network.online, is_ok) {
        (false, _) => "the network to the hub above is switched off",
        (true, false) => "the network to the hub above is made worse",
        (true, true) => "nothing is done to the network to the hub above",
    };
    Check { id: "network", is_ok, detail: detail.to_owned() }
}

fn queues(status: &DeviceStatus) -> Check {
    let queues = status.hub.get("queues").and_then(Value::as_object).into_iter().flatten();
    let waiting: Vec<String> = queues
        .filter(|(_, length)| length.as_u64() != Some(0))
        .map(|(endpoint, length)| format!("{length} for {endpoint}"))
        .collect();
    Check { id: "queues", is_ok: waiting.is_empty(), detail: told(waiting, "no message waits") }
}

fn https(status: &DeviceStatus) -> Check {
    let is_ok = status.endpoints.gateway_has_https;
    let detail = if is_ok { "the edge hub has port 443" } else { "port 443 needs a privilege that is missing" };
    Check { id: "https", is_ok, detail: detail.to_owned() }
}

fn told(bad: Vec<String>, good: &str) -> String {
    if bad.is_empty() { good.to_owned() } else { bad.join("; ") }
}
