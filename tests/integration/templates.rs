//! The built-in templates. Those of modules: each is built, passes its own tests, and does on a simulated device what the others do.
//! Those of solutions: what their sensors measure makes the alerts that are expected.
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

/// What is built is built beside the sources: whoever works in these installs packages there.
const NPM_TEST: [&str; 3] = ["sh", "-c", "npm ci --no-audit --no-fund && npm test"];

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
    works("js", &NPM_TEST);
}

#[test]
fn a_module_in_typescript() {
    works("typescript", &NPM_TEST);
}

#[test]
fn a_module_in_c() {
    works("c", &["make", "test"]);
}

#[test]
fn a_module_in_go() {
    works("go", &["go", "test", "./..."]);
}

#[test]
fn modules_built_as_containers_are_rendered_whole() {
    for (language, files) in [
        ("csharp", ["module.csproj", "Program.cs", "tests/FilterTest.cs"]),
        ("java", ["pom.xml", "src/main/java/edge/Main.java", "src/test/java/edge/FilterTest.java"]),
    ] {
        let place = tempdir().unwrap();
        edgectl(place.path()).args(["new", "plant", "--module", "hot", "--lang", language]).assert().success();
        let root = place.path().join("plant");
        edgectl(&root).args(["validate", "--deny-warnings"]).assert().success();
        let module = root.join("modules/hot");
        for file in files {
            assert!(module.join(file).is_file(), "{file}");
        }
        let described: Value = serde_json::from_slice(&std::fs::read(module.join("module.json")).unwrap()).unwrap();
        assert_eq!(described["language"], language);
        for (platform, dockerfile) in described["image"]["tag"]["platforms"].as_object().unwrap() {
            let text = std::fs::read_to_string(module.join(dockerfile.as_str().unwrap())).unwrap();
            assert!(!text.contains("{{") && text.contains("FROM --platform=linux/"), "{platform}: {text}");
        }
        // There is nothing here that could build it as a process, and that is said.
        let assert = edgectl(&root).arg("build").assert().code(5);
        let said = text(&assert.get_output().stderr);
        assert!(
            said.contains(&format!("a module in {language} cannot be built here without its Dockerfile")),
            "{said}"
        );
    }
}

#[test]
fn the_data_of_every_use_case_makes_the_alerts_that_are_expected() {
    for name in ["industrial", "retail", "healthcare", "vehicles", "cities"] {
        let place = tempdir().unwrap();
        edgectl(place.path()).args(["new", "site", "--from", name]).assert().success();
        let root = place.path().join("site");
        edgectl(&root).args(["validate", "--deny-warnings"]).assert().success();
        for (tests, directory) in [
            (&["test_scenario.py"][..], root.clone()),
            (&["-m", "unittest"], root.join("modules/sensor")),
            (&["-m", "unittest"], root.join("modules/detector")),
        ] {
            let tested = Command::new("python3").args(tests).current_dir(directory).output().unwrap();
            assert!(tested.status.success(), "{name}: {}", text(&tested.stderr));
        }
    }
}

#[test]
fn the_alerts_of_a_use_case_reach_the_cloud() {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "ward", "--from", "healthcare"]).assert().success();
    let root = place.path().join("ward");
    edgectl(&root).arg("build").timeout(TIMEOUT * 5).assert().success();
    let expected: Value = serde_json::from_slice(&std::fs::read(root.join("expected-alerts.json")).unwrap()).unwrap();

    let network = Loopback::new();
    let edgectl = |arguments: &[&str]| {
        let mut command = network.edgectl(&root);
        command.args(arguments).timeout(TIMEOUT);
        command
    };
    edgectl(&["sim", "up", "-d"]).assert().success();
    edgectl(&["deploy"]).assert().success();
    until(|| json(&mut edgectl(&["twin", "get", "sensor", "--reported"]))["played"] == 1500);
    until(|| {
        let status = json(&mut edgectl(&["status"]));
        status["hub"]["counters"]["delivered"]["iothub"] == 1
    });
    let events = json_lines(&mut edgectl(&["events"]));
    let found: Vec<&Value> = events.iter().map(|event| &event["body"]).collect();
    assert_eq!(found, expected.as_array().unwrap().iter().collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["moduleId"] == "detector"), "{events:?}");
    // What is played again makes the same alerts again.
    edgectl(&["method", "invoke", "sensor", "replay"]).assert().success();
    until(|| json(&mut edgectl(&["method", "invoke", "detector", "alerts"]))["payload"]["alerts"] == 2);
    edgectl(&["sim", "down"]).assert().success();
}
