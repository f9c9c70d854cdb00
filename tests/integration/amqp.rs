//! The Node SDK over AMQP: as a module, as a leaf device, through `WebSockets`, with a certificate, and straight at the
//! cloud hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgectl_schemas::ids::Identity;
use edgectl_simulator::authority::self_signed_client;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::edgectl;
use crate::network::Loopback;
use crate::node_client::NodeClient;

const TIMEOUT: Duration = Duration::from_mins(1);

/// A running device without modules of its own, in a network of its own.
struct Plant {
    network: Loopback,
    place: TempDir,
}

impl Plant {
    fn new() -> Self {
        let plant = Self { network: Loopback::new(), place: tempdir().unwrap() };
        edgectl(plant.place.path()).args(["new", "plant", "--no-module"]).assert().success();
        let path = plant.solution().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        template["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"] = json!({});
        template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] = json!({
            "loop": "FROM /messages/modules/node/outputs/loop INTO BrokeredEndpoint(\"/modules/node/inputs/input1\")",
            "up": "FROM /messages/modules/node/outputs/up INTO $upstream",
            "leaves": "FROM /messages/* WHERE NOT is_defined($connectionModuleId) INTO $upstream",
        });
        fs::write(&path, template.to_string()).unwrap();
        plant.edgectl(&["sim", "up", "-d"]).assert().success();
        plant.edgectl(&["deploy"]).assert().success();
        plant
    }

    fn solution(&self) -> PathBuf {
        self.place.path().join("plant")
    }

    fn edgectl(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.network.edgectl(&self.solution());
        command.args(arguments).timeout(TIMEOUT);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.edgectl(arguments).arg("--json").assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    /// Messages that reached the cloud, as soon as there are so many.
    fn events(&self, count: usize) -> Vec<Value> {
        let count = count.to_string();
        let mut command = self.edgectl(&["events", "-f", "--count", &count, "--json"]);
        let output = command.assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn client(&self, facts: Value) -> NodeClient {
        NodeClient::open(&self.network, &self.solution(), facts)
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        let solution: &Path = &self.solution();
        // What failed before says why.
        let _ = self.network.edgectl(solution).args(["sim", "down"]).timeout(TIMEOUT).ok();
    }
}

#[test]
fn a_module_sends_and_receives_and_has_a_twin_and_methods() {
    let plant = Plant::new();
    let mut module = plant.client(json!({ "identity": "plant/node", "transport": "amqp" }));

    module.run("receive", json!({}));
    let message = json!({
        "output": "loop", "body": r#"{"t":1}"#, "messageId": "m1", "contentType": "application/json",
        "set": { "room": "kiln", "settle": "abandon" },
    });
    module.run("send", message);
    // It gives the message back once.
    for _ in 0..2 {
        let received = module.saw("message");
        assert_eq!((&received["input"], &received["body"]), (&json!("input1"), &json!(r#"{"t":1}"#)));
        assert_eq!((&received["messageId"], &received["contentType"]), (&json!("m1"), &json!("application/json")));
        assert_eq!(received["properties"]["room"], "kiln");
    }
    module.run("send", json!({ "output": "up", "body": "to the cloud", "set": { "k": "v" } }));
    let events = plant.events(1);
    assert_eq!((&events[0]["moduleId"], &events[0]["body"]), (&json!("node"), &json!("to the cloud")));
    assert_eq!(events[0]["properties"], json!({ "k": "v" }));

    let twin = module.run("twin", json!({}));
    assert!(twin["properties"]["desired"]["$version"].is_u64(), "{twin}");
    module.run("desired", json!({}));
    // The SDK tells of what is there already.
    module.saw("desired");
    plant.edgectl(&["twin", "patch", "node", r#"{"color": "red"}"#]).assert().success();
    assert_eq!(module.saw("desired")["patch"]["color"], "red");
    module.run("report", json!({ "patch": { "seen": "red" } }));
    let refused = module.attempt("report", json!({ "patch": { "bad.key": 1 } }));
    assert!(refused["message"].as_str().unwrap().contains("bad.key"), "{refused}");

    module.run("method", json!({ "name": "echo" }));
    let answer = plant.json(&["method", "invoke", "node", "echo", r#"{"q": 1}"#]);
    assert_eq!((&answer["status"], &answer["payload"]), (&json!(217), &json!({ "echo": { "q": 1 } })));
    assert_eq!(module.saw("method")["payload"], json!({ "q": 1 }));
    while plant.json(&["twin", "get", "node", "--reported"])["seen"] != "red" {}

    // The token is renewed while the connection goes on.
    module.run("renew", json!({}));
    module.run("send", json!({ "output": "up", "body": "renewed" }));
    assert_eq!(plant.events(2)[1]["body"], "renewed");
    module.run("close", json!({}));
}

#[test]
fn a_leaf_device_sends_and_receives_and_is_told_what_is_too_large() {
    let plant = Plant::new();
    let mut leaf = plant.client(json!({ "identity": "thermometer", "transport": "amqp" }));
    leaf.run("many", json!({ "count": 500, "size": 256 }));
    leaf.run("many", json!({ "count": 8, "size": 250_000 }));
    let refused = leaf.attempt("send", json!({ "body": "x".repeat(262_145) }));
    assert_eq!(refused["error"], "MessageTooLargeError");
    leaf.run("send", json!({ "body": "last" }));
    let events = plant.events(509);
    assert!(events.iter().all(|event| event["deviceId"] == "thermometer"));
    assert_eq!(events[508]["body"], "last");
    leaf.run("method", json!({ "name": "echo" }));
    leaf.run("twin", json!({}));
    leaf.run("report", json!({ "patch": { "t": 21 } }));

    leaf.run("receive", json!({}));
    plant.json(&["message", "send", "--to-device", "thermometer", r#"{"go":"on"}"#]);
    let received = leaf.saw("message");
    assert_eq!((&received["body"], &received["contentType"]), (&json!(r#"{"go":"on"}"#), &json!("application/json")));
    while plant.json(&["leaf", "list"])[0]["waitingMessages"] != 0 {}
    leaf.run("close", json!({}));
}

#[test]
fn devices_come_through_websockets_with_certificates_and_straight_to_the_cloud_hub() {
    let plant = Plant::new();
    let device = Identity::parse("known").unwrap();
    let issued = self_signed_client(&device, Timestamp::now()).unwrap();
    let at = |end: &str| plant.place.path().join(end);
    fs::write(at("certificate"), &issued.certificate_pem).unwrap();
    fs::write(at("key"), &issued.private_key_pem).unwrap();
    let known = json!({ "certificate": at("certificate"), "key": at("key"), "thumbprint": issued.thumbprints[0] });
    let cases = [
        json!({ "identity": "socket", "transport": "amqp-ws" }),
        json!({ "identity": "straight", "transport": "amqp", "toCloud": true }),
        json!({ "identity": "straight-socket", "transport": "amqp-ws", "toCloud": true }),
        json!({ "identity": "known", "transport": "amqp", "certificate": known }),
    ];
    for facts in cases {
        let identity = facts["identity"].clone();
        let mut device = plant.client(facts);
        device.run("send", json!({ "body": identity, "set": { "k": "v" } }));
        let twin = device.run("twin", json!({}));
        assert_eq!(twin["properties"]["desired"]["$version"], 1, "{identity}");
        device.run("report", json!({ "patch": { "t": 21 } }));
        device.run("close", json!({}));
    }
    for event in plant.events(4) {
        assert_eq!((&event["deviceId"], &event["properties"]["k"]), (&event["body"], &json!("v")));
    }
}
