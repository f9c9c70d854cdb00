//! The environment that the runtime gives to modules.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::agent::deployment::{EDGE_AGENT, EDGE_HUB};

/// What every module of a device is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEnvironment {
    /// The host name of the cloud hub.
    pub hub_host: String,
    /// The device's identifier.
    pub device_id: String,
    /// The name or address at which modules and leaf devices reach the device.
    pub device_host: String,
    /// The host of the parent device, for nested devices.
    pub parent_host: Option<String>,
    /// The version of the workload API that modules are to ask for.
    pub api_version: String,
    /// `sasToken`, the only scheme that the client libraries know.
    pub auth_scheme: String,
    /// The agent's log level, handed on.
    pub log_level: String,
    /// The agent's upstream protocol, handed on if it is one.
    pub upstream_protocol: Option<UpstreamProtocol>,
    /// The management API's URI, for the agent.
    pub management_uri: String,
    /// The container network, for the agent.
    pub network_id: String,
}

/// What one module is told.
#[derive(Debug, Clone, Copy)]
pub struct ModuleEnvironment<'a> {
    /// The module's name in the deployment.
    pub name: &'a str,
    /// The generation of its identity.
    pub generation_id: &'a str,
    /// Where its workload API is.
    pub workload_uri: &'a str,
    /// The `env` section of the deployment.
    pub env: &'a BTreeMap<String, String>,
    /// Its create options, whose `Env` has the last word.
    pub create_options: &'a Map<String, Value>,
}

/// How the device speaks to its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// AMQP.
    Amqp,
    /// AMQP over a WebSocket.
    AmqpWs,
    /// MQTT.
    Mqtt,
    /// MQTT over a WebSocket.
    MqttWs,
}

impl UpstreamProtocol {
    const WORDS: [(Self, &'static str); 4] =
        [(Self::Amqp, "Amqp"), (Self::AmqpWs, "AmqpWs"), (Self::Mqtt, "Mqtt"), (Self::MqttWs, "MqttWs")];

    /// Reads the word in any case; other words are as good as none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::WORDS.iter().find(|(_, word)| word.eq_ignore_ascii_case(text)).map(|(protocol, _)| *protocol)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(protocol, _)| *protocol == self).map_or("Amqp", |(_, word)| word)
    }
}

/// The module's identifier at the hub: system modules have a `$` before their name.
pub fn module_id(name: &str) -> String {
    match name {
        EDGE_AGENT | EDGE_HUB => format!("${name}"),
        _ => name.to_owned(),
    }
}

/// The whole environment of a module. What the runtime sets wins over the deployment's `env`, and the `Env` of the
/// create options wins over both.
pub fn module_environment(device: &DeviceEnvironment, module: &ModuleEnvironment<'_>) -> BTreeMap<String, String> {
    let mut env = module.env.clone();
    let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
    set("IOTEDGE_WORKLOADURI", module.workload_uri);
    set("IOTEDGE_AUTHSCHEME", &device.auth_scheme);
    set("IOTEDGE_MODULEGENERATIONID", module.generation_id);
    set("IOTEDGE_IOTHUBHOSTNAME", &device.hub_host);
    set("IOTEDGE_DEVICEID", &device.device_id);
    set("IOTEDGE_MODULEID", &module_id(module.name));
    set("IOTEDGE_APIVERSION", &device.api_version);
    set("RuntimeLogLevel", &device.log_level);
    if let Some(protocol) = device.upstream_protocol {
        set("UpstreamProtocol", protocol.as_str());
    }
    let is_system = matches!(module.name, EDGE_AGENT | EDGE_HUB);
    match (&device.parent_host, is_system) {
        (None, true) => {}
        (Some(parent), true) => {
            set("IOTEDGE_GATEWAYHOSTNAME", parent);
        }
        (parent, false) => {
            set("IOTEDGE_GATEWAYHOSTNAME", &device.device_host);
            if let Some(parent) = parent {
                set("IOTEDGE_PARENTHOSTNAME", parent);
            }
        }
    }
    if is_system {
        set("EdgeDeviceHostName", &device.device_host);
    }
    if module.name == EDGE_AGENT {
        set("IOTEDGE_MANAGEMENTURI", &device.management_uri);
        set("NetworkId", &device.network_id);
        set("Mode", "iotedged");
    }
    if let Some(Value::Array(entries)) = module.create_options.get("Env") {
        let entries = entries.iter().filter_map(Value::as_str);
        env.extend(entries.filter_map(|entry| entry.split_once('=')).map(|(name, value)| (name.into(), value.into())));
    }
    env
}
