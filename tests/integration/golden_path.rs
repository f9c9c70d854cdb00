//! From an empty directory to messages in the cloud, as a person would type it, with modules in both languages.
//!
//! Modules are built with the registries at hand; everything after that happens in a network that has only loopback.

use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::binary::edgectl;
use crate::network::Loopback;

/// The JSON that a command prints.
fn json(command: &mut assert_cmd::Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

/// The JSON lines that a command prints.
fn json_lines(command: &mut assert_cmd::Command) -> Vec<Value> {
    let output = command.arg("--json").assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Messages that reached the cloud from a module, as soon as there are so many of all.
fn events(network: &Loopback, solution: &Path, count: usize) -> Vec<Value> {
    let count = count.to_string();
    json_lines(network.edgectl(solution).args(["events", "-f", "--count", &count]).timeout(TIMEOUT))
}

const TIMEOUT: std::time::Duration = std::time::Duration::from_mins(2);

#[test]
fn from_an_empty_directory_to_messages_in_the_cloud_with_both_languages() {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "plant", "--module", "pyfilter", "--lang", "python"]).assert().success();
    let solution = place.path().join("plant");
    // From anywhere inside.
    let inside = solution.join("modules/pyfilter");
    edgectl(&inside).args(["add", "module", "rustfilter", "--lang", "rust"]).assert().success();
    edgectl(&inside).arg("validate").assert().success();
    let built = json(edgectl(&inside).arg("build").timeout(TIMEOUT * 5));
    let mut modules: Vec<&str> =
        built["modules"].as_array().unwrap().iter().map(|m| m["module"].as_str().unwrap()).collect();
    modules.sort_unstable();
    assert_eq!(modules, ["pyfilter", "rustfilter"]);
    let rendered = json(edgectl(&inside).args(["render", "-o", "-"]));
    let image = "/modulesContent/$edgeAgent/properties.desired/modules/rustfilter/settings/image";
    assert_eq!(rendered.pointer(image).unwrap(), "localhost:5000/rustfilter:0.0.1-amd64");

    let network = Loopback::new();
    let edgectl = |arguments: &[&str]| {
        let mut command = network.edgectl(&inside);
        command.args(arguments).timeout(TIMEOUT);
        command
    };
    edgectl(&["sim", "up", "-d"]).assert().success();
    let deployed = json(&mut edgectl(&["deploy"]));
    let states: Vec<&str> =
        deployed["modules"].as_array().unwrap().iter().map(|m| m["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["running", "running", "running"]);

    // Below the first reading of the sensor, so that each is an alert.
    let patched = json(&mut edgectl(&["twin", "patch", "pyfilter", r#"{"TemperatureThreshold": 20}"#]));
    assert_eq!(patched["TemperatureThreshold"], 20);
    let alerts = events(&network, &inside, 3);
    for alert in &alerts {
        assert_eq!((&alert["deviceId"], &alert["moduleId"]), (&"plant".into(), &"pyfilter".into()));
        assert_eq!(alert["properties"]["MessageType"], "Alert");
        assert!(alert["body"]["machine"]["temperature"].is_f64(), "{alert}");
    }
    let answer = json(&mut edgectl(&["method", "invoke", "pyfilter", "threshold"]));
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["payload"]["TemperatureThreshold"], 20.0);
    let reported = json(&mut edgectl(&["twin", "get", "pyfilter", "--reported"]));
    assert_eq!(reported["TemperatureThreshold"], 20.0);

    // The filter in Rust gets its reading by hand.
    edgectl(&["method", "invoke", "SimulatedTemperatureSensor", "reset"]).assert().success();
    edgectl(&["twin", "patch", "SimulatedTemperatureSensor", r#"{"SendData": false}"#]).assert().success();
    let reading = r#"{"machine": {"temperature": 99.5}}"#;
    edgectl(&["message", "send", "rustfilter", "input1", reading, "-p", "room=kiln"]).assert().success();
    let by_rust = loop {
        let all = json_lines(&mut edgectl(&["events"]));
        if let Some(found) = all.into_iter().find(|event| event["moduleId"] == "rustfilter") {
            break found;
        }
    };
    assert_eq!(by_rust["body"]["machine"]["temperature"], 99.5);
    assert_eq!(
        (&by_rust["properties"]["MessageType"], &by_rust["properties"]["room"]),
        (&"Alert".into(), &"kiln".into())
    );
    let answer = json(&mut edgectl(&["method", "invoke", "rustfilter", "threshold"]));
    assert_eq!(answer["status"], 200);

    // A leaf device is a client of the edge hub like the others.
    edgectl(&["message", "send", "--leaf", "thermometer", r#"{"t": 1}"#]).assert().success();
    let status = json(&mut edgectl(&["status"]));
    assert_eq!(status["hub"]["counters"]["accepted"]["thermometer"], 1);
    assert_eq!(status["hub"]["counters"]["dropped"]["no_route"], 1);
    assert!(status["modules"].as_array().unwrap().iter().all(|module| module["connected"] == true), "{status}");

    let log = json_lines(&mut edgectl(&["logs", "rustfilter"]));
    assert!(log.iter().any(|line| line["text"].as_str().unwrap().contains("99.5")), "{log:?}");

    edgectl(&["sim", "down"]).assert().success();
    edgectl(&["status"]).assert().code(1);
}

#[test]
fn the_demo_needs_neither_network_nor_tools_and_says_so() {
    let place = tempdir().unwrap();
    let network = Loopback::new();
    let tools = tempdir().unwrap();
    let mut command = network.command(place.path());
    // Nothing to build with: no Python and no cargo on the path.
    command.arg("demo").arg("--json").env("PATH", tools.path());
    let nsenter = ["/usr/bin/nsenter", "/bin/nsenter"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    let mut full = std::process::Command::new(nsenter);
    full.args(command.get_args()).current_dir(place.path()).env("PATH", tools.path());
    let assert = assert_cmd::Command::from_std(full).timeout(TIMEOUT).assert().success();
    let outcome: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(outcome["filter"], "built in");
    assert!(outcome["builtInBecause"].as_str().unwrap().contains("python3"));
    assert!(outcome["receivedByCloud"].as_u64().unwrap() >= 5);
    assert_eq!(outcome["reported"]["TemperatureThreshold"], 20.0);
    assert!(place.path().join("edgectl-demo/deployment.template.json").is_file());
}
