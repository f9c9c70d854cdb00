//! The real service SDKs at the cloud hub: what they make, change and ask is as they know it of the real service.

use std::path::Path;

use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_simulator::authority::{Authority, self_signed_client};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clients::{Site, node};
use crate::device::{Solution, signal};
use crate::sdk;

/// What clients of the service need to know.
fn facts(site: &Site) -> Value {
    let json = |arguments: &[&str]| -> Value {
        let output = site.edgectl(arguments).arg("--json").assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    };
    let mut facts = site.facts();
    for policy in ["iothubowner", "service", "device", "registryRead", "registryReadWrite", "provisioningserviceowner"]
    {
        let shown = json(&["connection-string", policy]);
        let text = shown["connectionString"].as_str().unwrap();
        facts["policies"][policy] = json!(text.split_once("SharedAccessKey=").unwrap().1);
    }
    facts["idScope"] = json(&["enrollment", "list"])["idScope"].clone();
    facts["plannedKey"] = json(&["enrollment", "add", "planned", "--edge", "--tag", "hall=3"])["key"].clone();
    facts
}

/// Runs a client of the service, which trusts the hub's authority by its environment alone.
fn run(site: &Site, program: &Path, script: &str, facts: &Value) {
    let bundle = facts["trustBundle"].as_str().unwrap();
    let mut client = site.client(program, script, facts);
    client.env("REQUESTS_CA_BUNDLE", bundle).env("NODE_EXTRA_CA_CERTS", bundle).assert().success();
}

#[test]
fn the_python_service_sdk_keeps_a_registry() {
    let python = sdk::service_python();
    let site = Site::start();
    run(&site, python, "python/registry.py", &facts(&site));
}

#[test]
fn the_node_service_sdk_keeps_a_registry() {
    let (node, modules) = node("node_registry");
    let site = Site::start();
    let mut facts = facts(&site);
    facts["nodeModules"] = json!(modules);
    run(&site, &node, "node_registry/registry.js", &facts);
}

#[test]
fn the_python_provisioning_client_registers() {
    let python = sdk::service_python();
    let site = Site::start();
    let (now, mut facts) = (Timestamp::now(), facts(&site));
    let id = |name: &str| Identity::parse(name).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Authority::open(elsewhere.path(), &DeviceId::new("elsewhere").unwrap(), now).unwrap();
    facts["foreignAuthority"] = json!(foreign.trust_bundle_path());
    facts["certificates"] = json!({
        "alone": site.place("alone", &self_signed_client(&id("alone"), now).unwrap()),
        "vouched": site.place("vouched", &site.authority().issue_client(&id("vouched"), now).unwrap()),
        "stranger": site.place("stranger", &foreign.issue_client(&id("stranger"), now).unwrap()),
    });
    run(&site, python, "python/provisioning.py", &facts);
}

#[test]
fn the_node_provisioning_clients_register() {
    let (node, modules) = node("node_registry");
    let site = Site::start();
    let mut facts = facts(&site);
    let issued = self_signed_client(&Identity::parse("node").unwrap(), Timestamp::now()).unwrap();
    facts["certificates"] = json!({ "node": site.place("node", &issued) });
    facts["nodeModules"] = json!(modules);
    run(&site, &node, "node_registry/provisioning.js", &facts);
}

#[test]
fn a_killed_hub_has_its_registry_twins_and_enrolments_when_it_is_back() {
    let solution = Solution::with(json!({}));
    let mut device = solution.up();
    let leaf = solution.json(&["leaf", "add", "thermometer"]);
    solution.edgectl(&["twin", "patch", "--leaf", "thermometer", r#"{"interval": 5}"#]).assert().success();
    solution.json(&["enrollment", "add", "floor", "--group", "--edge"]);
    solution.json(&["enrollment", "add", "pump", "--tag", "hall=1"]);
    let twin = |solution: &Solution| solution.json(&["twin", "get", "--leaf", "thermometer"]);
    let (twin_before, enrolled_before) = (twin(&solution), solution.json(&["enrollment", "list"]));
    signal(&device, "-KILL");
    device.wait().unwrap();
    let mut device = solution.up();
    assert_eq!(twin(&solution), twin_before);
    assert_eq!(solution.json(&["enrollment", "list"]), enrolled_before);
    assert_eq!(enrolled_before["enrollments"].as_array().unwrap().len(), 2);
    assert_eq!(solution.json(&["leaf", "add", "thermometer"]), leaf, "its keys are what they were");
    solution.edgectl(&["enrollment", "remove", "floor", "--group"]).assert().success();
    solution.edgectl(&["enrollment", "remove", "floor", "--group"]).assert().failure();
    signal(&device, "-TERM");
    device.wait().unwrap();
}
