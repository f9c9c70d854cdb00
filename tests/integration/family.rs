//! Leaf devices with the real SDK, under a device and under a device below another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};
use crate::network::Loopback;
use crate::sdk::Leaf;

const TIMEOUT: Duration = Duration::from_mins(2);

/// A solution whose devices send everything upstream, in a network of its own.
struct Plant {
    place: TempDir,
    network: Loopback,
}

impl Plant {
    fn new() -> Self {
        let place = tempdir().unwrap();
        edgectl(place.path()).args(["new", "plant", "--no-module"]).assert().success();
        let plant = Self { place, network: Loopback::new() };
        let path = plant.root().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        template["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"] = json!({});
        template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] =
            json!({ "leaves": "FROM /messages/* INTO $upstream" });
        fs::write(&path, template.to_string()).unwrap();
        plant
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("plant")
    }

    fn edgectl(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = self.network.edgectl(&self.root());
        command.args(arguments).timeout(TIMEOUT);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.edgectl(arguments).arg("--json").assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    /// The messages that reached the cloud, as soon as there are so many.
    fn events(&self, count: usize) -> Vec<Value> {
        let mut command = self.edgectl(&["events", "-f", "--json", "--count", &count.to_string()]);
        let output = command.assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
        }
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        for device in ["grandchild", "child", "plant"] {
            // Whatever a test left; some leave nothing.
            let _ = self.edgectl(&["--device", device, "sim", "down"]).output();
        }
    }
}

/// Telemetry, messages from the cloud, methods and the twin of a leaf device under one of the plant's devices.
fn everything(plant: &Plant, device: &str, leaf_name: &str, events_before: usize) {
    let of = |arguments: &[&str]| plant.json(&[&["--device", device], arguments].concat());
    plant.edgectl(&["twin", "patch", "--leaf", leaf_name, r#"{"interval": 5}"#]).assert().code(1);
    let added = of(&["leaf", "add", leaf_name]);
    let (mut leaf, twin) = Leaf::connect(&plant.network, &added);
    assert_eq!(twin["desired"]["$version"], 1, "{twin}");

    leaf.command(&json!({ "send": { "temperature": 21 } }));
    let events = plant.events(events_before + 1);
    let event = events.last().unwrap();
    assert_eq!((&event["deviceId"], &event["body"]), (&json!(leaf_name), &json!({ "temperature": 21 })));
    assert_eq!(event["properties"]["kind"], "reading");
    assert_eq!(event.get("moduleId"), None);

    plant.json(&["message", "send", "--to-device", leaf_name, r#"{"go":"on"}"#, "-p", "why=because it can"]);
    let message = leaf.event("message");
    assert_eq!(
        (&message["message"], &message["properties"]["why"]),
        (&json!(r#"{"go":"on"}"#), &json!("because it can"))
    );
    assert_eq!(message["content_type"], "application/json");
    plant.wait_until("the message is settled", |_| of(&["leaf", "list"])[0]["waitingMessages"] == 0);

    let answer = of(&["method", "invoke", "--leaf", leaf_name, "poke", r#"{"n":1}"#]);
    assert_eq!(answer, json!({ "status": 207, "payload": { "echo": { "n": 1 } } }));

    plant.json(&["twin", "patch", "--leaf", leaf_name, r#"{"interval": 5}"#]);
    assert_eq!(leaf.event("desired")["desired"], json!({ "interval": 5, "$version": 2 }));
    leaf.command(&json!({ "report": { "interval": 5 } }));
    plant.wait_until("the report is there", |plant| {
        plant.json(&["twin", "get", "--leaf", leaf_name, "--reported"])["interval"] == 5
    });
}

#[test]
fn a_leaf_device_with_the_real_sdk() {
    let plant = Plant::new();
    plant.edgectl(&["sim", "up", "-d"]).assert().success();
    plant.edgectl(&["deploy"]).assert().success();
    everything(&plant, "plant", "thermometer", 0);

    // Its messages wait while it is away.
    plant.json(&["message", "send", "--to-device", "thermometer", "later"]);
    let added = plant.json(&["leaf", "add", "thermometer"]);
    let (leaf, twin) = Leaf::connect(&plant.network, &added);
    assert_eq!(twin["desired"]["interval"], 5);
    plant.wait_until("the message is settled", |plant| plant.json(&["leaf", "list"])[0]["waitingMessages"] == 0);
    drop(leaf);

    plant.json(&["leaf", "remove", "thermometer"]);
    assert_eq!(plant.json(&["leaf", "list"]), json!([]));
    refused(plant.edgectl(&["leaf", "remove", "thermometer"]).assert(), 1, "no leaf device thermometer");
    refused(plant.edgectl(&["leaf", "add", "plant"]).assert(), 1, "not as a leaf device");
}

#[test]
fn a_secret_is_printed_only_where_it_is_the_result() {
    use std::os::unix::fs::PermissionsExt as _;
    let plant = Plant::new();
    plant.edgectl(&["sim", "up", "-d"]).assert().success();
    let printed = plant.json(&["leaf", "add", "one"]);
    let connection = printed["connectionString"].as_str().unwrap();
    let added = plant.json(&["leaf", "add", "one", "-o", "leaf.txt"]);
    assert_eq!(added.get("connectionString"), None);
    let path = plant.root().join("leaf.txt");
    assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), connection, "who is registered keeps the keys");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let key = connection.split(';').find_map(|part| part.strip_prefix("SharedAccessKey=")).unwrap();
    assert!(!plant.json(&["leaf", "list"]).to_string().contains(key));
    assert!(Path::new(added["trustBundle"].as_str().unwrap()).is_file());
}

#[test]
fn a_leaf_device_with_a_certificate_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let plant = Plant::new();
    plant.edgectl(&["sim", "up", "-d"]).assert().success();
    plant.edgectl(&["deploy"]).assert().success();
    for (number, kind) in ["--x509", "--x509=authority"].into_iter().enumerate() {
        let name = format!("leaf{number}");
        let added = plant.json(&["leaf", "add", &name, kind, "--certificates", "certificates"]);
        let key = Path::new(added["privateKey"].as_str().unwrap());
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!added.to_string().contains("SharedAccessKey"));
        let (mut leaf, _) = Leaf::connect(&plant.network, &added);
        leaf.command(&json!({ "send": number }));
        let events = plant.events(number + 1);
        assert_eq!(events[number]["deviceId"], name);
        plant.json(&["message", "send", "--to-device", &name, "hello"]);
        assert_eq!(leaf.event("message")["message"], "hello");
    }
    let kinds: Vec<Value> =
        plant.json(&["leaf", "list"]).as_array().unwrap().iter().map(|leaf| leaf["authentication"].clone()).collect();
    assert_eq!(kinds, [json!("selfSigned"), json!("certificateAuthority")]);
}

#[test]
fn a_message_travels_from_a_leaf_device_through_two_devices_to_the_cloud() {
    let plant = Plant::new();
    let below = ["--device", "child", "sim", "up", "-d", "--parent", "plant"];
    refused(plant.edgectl(&below).assert(), 1, "plant is not running");
    plant.edgectl(&["sim", "up", "-d"]).assert().success();
    let child = plant.json(&below);
    assert_eq!(child["parent"], "plant");
    for device in ["plant", "child"] {
        plant.edgectl(&["--device", device, "deploy"]).assert().success();
    }
    everything(&plant, "child", "thermometer", 0);
    let clients = plant.json(&["status"])["hub"]["clients"].to_string();
    assert!(clients.contains("child/$edgeHub"), "{clients}");

    // A third one, and the second started again, which knows its place.
    plant.edgectl(&["--device", "child", "sim", "down"]).assert().success();
    assert_eq!(plant.json(&["--device", "child", "sim", "up", "-d"])["parent"], "plant");
    let file = plant.root().join("edgectl.yaml");
    let text = fs::read_to_string(&file).unwrap() + "\nparents: { grandchild: child }\n";
    fs::write(&file, text).unwrap();
    assert_eq!(plant.json(&["--device", "grandchild", "sim", "up", "-d"])["parent"], "child");
    plant.edgectl(&["--device", "grandchild", "deploy"]).assert().success();
    everything(&plant, "grandchild", "barometer", 1);
    assert_eq!(plant.json(&["--device", "grandchild", "status"])["receivedByCloud"], 2);
}

#[test]
fn messages_wait_in_the_lower_device_while_the_upper_one_is_down() {
    let plant = Plant::new();
    plant.edgectl(&["sim", "up", "-d"]).assert().success();
    plant.edgectl(&["--device", "child", "sim", "up", "-d", "--parent", "plant"]).assert().success();
    for device in ["plant", "child"] {
        plant.edgectl(&["--device", device, "deploy"]).assert().success();
    }
    let added = plant.json(&["--device", "child", "leaf", "add", "thermometer"]);
    let (mut leaf, _) = Leaf::connect(&plant.network, &added);
    leaf.command(&json!({ "send": 0 }));
    plant.events(1);
    plant.edgectl(&["sim", "down"]).assert().success();
    for number in 1..=5 {
        leaf.command(&json!({ "send": number }));
    }
    plant.edgectl(&["sim", "up", "-d"]).assert().success();
    let bodies: Vec<Value> = plant.events(6).into_iter().map(|mut event| event["body"].take()).collect();
    assert_eq!(bodies, [json!(0), json!(1), json!(2), json!(3), json!(4), json!(5)]);
}
