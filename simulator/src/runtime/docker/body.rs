//! The body of the create request: the module's create options as they were written, and what a device adds to them.
//!
//! What the device adds is what the real one does: labels, the workload API's socket at its usual place, and the device's
//! network unless the options choose another. The agent's restart policy is never told to the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::runtime::docker::privileges::restrict;
use crate::runtime::module_runtime::ModuleSpec;

/// Where modules find the workload API.
pub const WORKLOAD_SOCKET: &str = "/var/run/iotedge/workload.sock";
/// The host name at which containers reach the edge hub.
pub const GATEWAY_NAME: &str = "edgehub";
/// The label by which tools know the containers of an edge agent, and its value.
pub const OWNER_LABEL: (&str, &str) = ("net.azure-devices.edge.owner", "Microsoft.Azure.Devices.Edge.Agent");
/// The label that holds the image as the deployment names it.
pub const IMAGE_LABEL: &str = "net.azure-devices.edge.original-image";
/// The label that says which device a container belongs to: the place of its state.
pub const DEVICE_LABEL: &str = "io.edgectl.device";
/// The label that holds the module's name.
pub const MODULE_LABEL: &str = "io.edgectl.module";

/// What containers of a device share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// What tells this device's containers from those of others.
    pub device: String,
    /// The device's network.
    pub network: String,
    /// The address at which the edge hub is reached from that network.
    pub gateway: IpAddr,
    /// Whether containers get no privileges, as where the daemon's `allow_elevated_docker_permissions` is off.
    pub is_restricted: bool,
}

/// The whole request.
pub fn create_body(module: &ModuleSpec, around: &Surroundings) -> Map<String, Value> {
    let mut body = module.create_options.clone();
    let mode = text_at(&body, "NetworkMode");
    let is_on_host = mode.as_deref() == Some("host");
    let chooses_network = mode.is_some() || has_endpoints(&body);

    let socket = module.env.get("IOTEDGE_WORKLOADURI").and_then(|uri| uri.strip_prefix("unix://")).map(str::to_owned);
    body.insert("Image".to_owned(), module.image.clone().into());
    body.insert("Env".to_owned(), environment(module, is_on_host).into());
    let labels = object(&mut body, "Labels");
    labels.insert(OWNER_LABEL.0.to_owned(), OWNER_LABEL.1.into());
    labels.insert(IMAGE_LABEL.to_owned(), module.image.clone().into());
    labels.insert(DEVICE_LABEL.to_owned(), around.device.clone().into());
    labels.insert(MODULE_LABEL.to_owned(), module.name.clone().into());

    let host = object(&mut body, "HostConfig");
    if let Some(socket) = socket {
        array(host, "Binds").push(format!("{socket}:{WORKLOAD_SOCKET}").into());
    }
    if !is_on_host {
        array(host, "ExtraHosts").push(format!("{GATEWAY_NAME}:{}", around.gateway).into());
    }
    if around.is_restricted {
        restrict(host);
    }
    if !chooses_network {
        // Other modules find it by its name, as on a device.
        host.insert("NetworkMode".to_owned(), around.network.clone().into());
        let endpoints = json!({ &around.network: { "Aliases": [module.name] } });
        object(&mut body, "NetworkingConfig").insert("EndpointsConfig".to_owned(), endpoints);
    }
    body
}

/// The environment as the engine takes it, sorted by name. What stands in the create options has the last word; entries
/// without a value are passed on as they are.
fn environment(module: &ModuleSpec, is_on_host: bool) -> Vec<Value> {
    let written: Vec<&str> = module
        .create_options
        .get("Env")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let is_written =
        |name: &str| written.iter().any(|entry| entry.split_once('=').is_some_and(|(known, _)| known == name));
    let mut env: BTreeMap<&str, &str> =
        module.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let socket = format!("unix://{WORKLOAD_SOCKET}");
    let mut inside = |name, value| {
        if env.contains_key(name) && !is_written(name) {
            env.insert(name, value);
        }
    };
    inside("IOTEDGE_WORKLOADURI", socket.as_str());
    if !is_on_host {
        inside("IOTEDGE_GATEWAYHOSTNAME", GATEWAY_NAME);
    }
    let bare = written.iter().filter(|entry| !entry.contains('=')).map(|entry| (*entry).into());
    env.iter().map(|(name, value)| format!("{name}={value}").into()).chain(bare).collect()
}

fn text_at(body: &Map<String, Value>, name: &str) -> Option<String> {
    let text = body.get("HostConfig")?.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn has_endpoints(body: &Map<String, Value>) -> bool {
    let endpoints = body.get("NetworkingConfig").and_then(|networking| networking.get("EndpointsConfig"));
    endpoints.and_then(Value::as_object).is_some_and(|endpoints| !endpoints.is_empty())
}

/// The member as an object; one that is something else is replaced, as the engine would refuse it anyway.
fn object<'m>(holder: &'m mut Map<String, Value>, name: &str) -> &'m mut Map<String, Value> {
    let member = holder.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    match member {
        Value::Object(members) => members,
        _ => unreachable!("it was just made one"),
    }
}

fn array<'m>(holder: &'m mut Map<String, Value>, name: &str) -> &'m mut Vec<Value> {
    let member = holder.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if !member.is_array() {
        *member = Value::Array(Vec::new());
    }
    match member {
        Value::Array(elements) => elements,
        _ => unreachable!("it was just made one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            device: "/s/.edgectl".into(),
            network: "edgectl-d".into(),
            gateway: IpAddr::from([172, 18, 0, 1]),
            is_restricted: false,
        }
    }

    fn module(create_options: Value, env: &[(&str, &str)]) -> ModuleSpec {
        let Value::Object(create_options) = create_options else { unreachable!("tests write objects") };
        ModuleSpec {
            name: "filter".into(),
            kind: "docker".into(),
            image: "filter:1".into(),
            create_options,
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn what_was_written_is_passed_on_and_what_a_device_adds_is_added() {
        let options = json!({
            "Cmd": ["x"], "Future": {"any": 1}, "Labels": {"own": "1"},
            "HostConfig": {"Binds": ["/a:/b"], "Memory": 1000, "DeviceRequests": [{"Count": -1}]}
        });
        let env =
            [("IOTEDGE_WORKLOADURI", "unix:///s/filter.sock"), ("IOTEDGE_GATEWAYHOSTNAME", "127.0.5.1"), ("A", "b=c")];
        let body = Value::Object(create_body(&module(options, &env), &around()));
        assert_eq!(body["Future"], json!({"any": 1}));
        assert_eq!(body["HostConfig"]["DeviceRequests"], json!([{"Count": -1}]));
        assert_eq!(body["HostConfig"]["Memory"], 1000);
        assert_eq!(body["HostConfig"]["Binds"], json!(["/a:/b", "/s/filter.sock:/var/run/iotedge/workload.sock"]));
        assert_eq!(body["HostConfig"]["ExtraHosts"], json!(["edgehub:172.18.0.1"]));
        assert_eq!(body["HostConfig"]["NetworkMode"], "edgectl-d");
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["edgectl-d"]["Aliases"], json!(["filter"]));
        let env =
            ["A=b=c", "IOTEDGE_GATEWAYHOSTNAME=edgehub", "IOTEDGE_WORKLOADURI=unix:///var/run/iotedge/workload.sock"];
        assert_eq!(body["Env"], json!(env));
        assert_eq!(body["Labels"]["own"], "1");
        assert_eq!(body["Labels"]["net.azure-devices.edge.original-image"], "filter:1");
        assert_eq!(body["Image"], "filter:1");
    }

    #[test]
    fn a_restricted_container_gets_no_privileges() {
        let around = Surroundings { is_restricted: true, ..around() };
        let options = json!({"HostConfig": {"Privileged": true, "CapAdd": ["NET_ADMIN"]}});
        let body = Value::Object(create_body(&module(options, &[]), &around));
        assert_eq!(body["HostConfig"]["Privileged"], false);
        assert_eq!(body["HostConfig"]["CapDrop"], json!(["CHOWN", "SETUID"]));
        assert_eq!(body["HostConfig"].get("CapAdd"), None);
    }

    #[test]
    fn the_agents_vectors_hold() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/agent.json");
        let Ok(text) = std::fs::read(file) else { return println!("passed over: no behaviour vectors") };
        let document: Value = serde_json::from_slice(&text).unwrap();
        let mut checked = 0;
        let vectors = document["vectors"].as_array().unwrap().iter();
        // The edge hub is no container here, so what is told of its container is passed over.
        for vector in vectors.filter(|v| v["op"] == "container_config" && v["input"]["module"] != "edgeHub") {
            let (input, text) = (&vector["input"], |name: &str| vector["input"][name].as_str().unwrap_or_default());
            let network = if input["networkId"].is_string() { text("networkId") } else { "edgectl-d" };
            let around = Surroundings { network: network.to_owned(), ..around() };
            let mut module = module(json!({}), &[("IOTEDGE_WORKLOADURI", text("workloadUri"))]);
            module.name = text("module").to_owned();
            let body = Value::Object(create_body(&module, &around));
            let is_socket = text("workloadUri").starts_with("unix://");
            assert_eq!(body["HostConfig"].get("Binds").is_some(), is_socket, "{vector}");
            // The device's host name is an alias of the hub alone; a module's own name stands for its container's, which
            // is longer here.
            let aliases = &body["NetworkingConfig"]["EndpointsConfig"][network]["Aliases"];
            assert_eq!(*aliases, json!([text("module")]), "{vector}");
            checked += 1;
        }
        assert!(checked >= 2, "{checked}");
    }

    #[test]
    fn options_that_choose_a_network_keep_it() {
        let env = [("IOTEDGE_GATEWAYHOSTNAME", "127.0.5.1")];
        let body = Value::Object(create_body(&module(json!({"HostConfig": {"NetworkMode": "host"}}), &env), &around()));
        assert_eq!(body["HostConfig"], json!({"NetworkMode": "host"}));
        assert_eq!(body["Env"], json!(["IOTEDGE_GATEWAYHOSTNAME=127.0.5.1"]));
        let options = json!({"NetworkingConfig": {"EndpointsConfig": {"mine": {}}}});
        let body = Value::Object(create_body(&module(options.clone(), &env), &around()));
        assert_eq!(body["NetworkingConfig"], options["NetworkingConfig"]);
        assert_eq!(body["HostConfig"].get("NetworkMode"), None);
    }

    #[test]
    fn what_the_options_say_of_the_environment_wins() {
        let options = json!({"Env": ["IOTEDGE_GATEWAYHOSTNAME=other", "BARE"]});
        let env = [("IOTEDGE_GATEWAYHOSTNAME", "other")];
        let body = create_body(&module(options, &env), &around());
        assert_eq!(body["Env"], json!(["IOTEDGE_GATEWAYHOSTNAME=other", "BARE"]));
    }
}
