//! The templates of modules: each is built, passes its own tests, and does on a simulated device what the others do.
//!
//! Modules are built with the registries at hand; everything after that happens in a network that has only loopback.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::tempdir;

use crate::binary::edgectl;
use crate::network::Loopback;

const TIMEOUT: Duration = Duration::from_mins(2);

fn json(command: &mut assert_cmd::Command) -> Value {
    let output = command.arg("--json").assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

fn json_lines(command: &mut assert_cmd::Command) -> Vec<Value> {
    let output = command.arg("--json").assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A module made from the template of a language, from nothing to its clean end.
fn works(language: &str, own_tests: &[&str]) {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "plant", "--module", "hot", "--lang", language]).assert().success();
    let root = place.path().join("plant");
    edgectl(&root).args(["validate", "--deny-warnings"]).assert().success();
    let built = json(edgectl(&root).arg("build").timeout(TIMEOUT * 5));
    assert_eq!(built["modules"][0]["status"], "built", "{built}");
    let again = json(edgectl(&root).arg("build").timeout(TIMEOUT * 5));
    assert_eq!(again["modules"][0]["status"], "cached", "{again}");
    assert_eq!(again["modules"][0]["digest"], built["modules"][0]["digest"]);
    let [program, arguments @ ..] = own_tests else { panic!("it has no tests") };
    let tested = Command::new(program).args(arguments).current_dir(root.join("modules/hot")).output().unwrap();
    assert!(tested.status.success(), "{}{}", text(&tested.stdout), text(&tested.stderr));

    runs(&root);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The module `hot` of a solution: messages, desired and reported properties, direct methods, and its end.
fn runs(root: &Path) {
    let network = Loopback::new();
    let edgectl = |arguments: &[&str]| {
        let mut command = network.edgectl(root);
        command.args(arguments).timeout(TIMEOUT);
        command
    };
    edgectl(&["sim", "up", "-d"]).assert().success();
    let deployed = json(&mut edgectl(&["deploy"]));
    assert!(deployed["modules"].as_array().unwrap().iter().all(|m| m["status"] == "running"), "{deployed}");
    edgectl(&["twin", "patch", "SimulatedTemperatureSensor", r#"{"SendData": false}"#]).assert().success();

    edgectl(&["twin", "patch", "hot", r#"{"TemperatureThreshold": 50.5}"#]).assert().success();
    until(|| json(&mut edgectl(&["twin", "get", "hot", "--reported"]))["TemperatureThreshold"] == 50.5);
    for temperature in ["50.5", "99.5"] {
        let reading = format!("{{\"machine\": {{\"temperature\": {temperature}}}}}");
        edgectl(&["message", "send", "hot", "input1", &reading, "-p", "room=kiln & oven"]).assert().success();
    }
    let find = || {
        let events = json_lines(&mut edgectl(&["events"]));
        events.into_iter().find(|event| event["body"]["machine"]["temperature"] == 99.5)
    };
    until(|| find().is_some());
    let alert = find().unwrap();
    assert_eq!(alert["moduleId"], "hot");
    assert_eq!(alert["properties"]["MessageType"], "Alert");
    assert_eq!(alert["properties"]["room"], "kiln & oven");
    let events = json_lines(&mut edgectl(&["events"]));
    assert!(events.iter().all(|event| event["body"]["machine"]["temperature"] != 50.5), "{events:?}");

    let answer = json(&mut edgectl(&["method", "invoke", "hot", "threshold"]));
    assert_eq!((&answer["status"], &answer["payload"]["TemperatureThreshold"]), (&200.into(), &50.5.into()));
    // Null is how a twin forgets.
    edgectl(&["twin", "patch", "hot", r#"{"TemperatureThreshold": null}"#]).assert().success();
    until(|| json(&mut edgectl(&["twin", "get", "hot", "--reported"]))["TemperatureThreshold"] == 25.0);

    // It ends when it is asked to, and comes back to what is desired of it.
    edgectl(&["restart", "hot"]).assert().success();
    until(|| {
        let log = json_lines(&mut edgectl(&["logs", "hot"]));
        let says = |words: &str| log.iter().filter(|line| line["text"].as_str().unwrap().contains(words)).count();
        says("asked to stop") == 1 && says("threshold: 25") >= 2
    });
    edgectl(&["sim", "down"]).assert().success();
}

/// Waits for something that happens by itself; the commands that look take their time.
fn until(mut happened: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !happened() {
        assert!(begin.elapsed() < TIMEOUT, "it never happened");
    }
}

#[test]
fn a_module_in_rust() {
    let target = "../../.edgectl/build/hot/target";
    works("rust", &["cargo", "test", "--release", "--locked", "--target-dir", target]);
}

#[test]
fn a_module_in_python() {
    works("python", &["../../.edgectl/build/hot/venv/bin/python", "-m", "unittest"]);
}

#[test]
fn a_module_in_javascript() {
    works("js", &["npm", "test"]);
}

#[test]
fn a_module_in_typescript() {
    works("typescript", &["npm", "test"]);
}

#[test]
fn a_module_in_c() {
    works("c", &["make", "test"]);
}

#[test]
fn a_module_in_go() {
    works("go", &["go", "test", "./..."]);
}
