//! What happens to a device that is started twice, interrupted, killed, or whose state is damaged.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};

const TIMEOUT: Duration = Duration::from_mins(1);

/// The device of a [`Solution`].
pub const DEVICE: &str = "plant";

/// A solution of built-in modules, whose device ends with it.
pub struct Solution {
    place: TempDir,
}

impl Solution {
    pub fn new() -> Self {
        Self::with(json!({
            "SimulatedTemperatureSensor": module("mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.0"),
            "filter": module("edgectl-filter:1.0"),
        }))
    }

    pub fn with(modules: Value) -> Self {
        let place = tempdir().unwrap();
        edgectl(place.path()).args(["new", "plant", "--no-module"]).assert().success();
        let solution = Self { place };
        let path = solution.root().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        template["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"] = modules;
        let sensor = "/messages/modules/SimulatedTemperatureSensor/outputs/temperatureOutput";
        let has_filter = template.pointer("/modulesContent/$edgeAgent/properties.desired/modules/filter").is_some();
        let routes = if has_filter {
            template["modulesContent"]["filter"] = json!({ "properties.desired": { "TemperatureThreshold": 0 } });
            json!({
                "sensorToFilter": format!("FROM {sensor} INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")"),
                "filterToCloud": "FROM /messages/modules/filter/outputs/* INTO $upstream",
            })
        } else {
            json!({})
        };
        template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] = routes;
        fs::write(&path, template.to_string()).unwrap();
        solution
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("plant")
    }

    pub fn edgectl(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = edgectl(&self.root());
        command.args(arguments).timeout(TIMEOUT);
        command
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.edgectl(arguments).arg("--json").assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    /// Starts the device in the foreground and waits until it says that it runs.
    pub fn up(&self) -> Child {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("edgectl"))
            .args(["--json", "sim", "up"])
            .current_dir(self.root())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("gatewayHostName"), "{line}");
        child
    }

    /// The processes of the running modules.
    pub fn processes(&self) -> Vec<u32> {
        let status = self.json(&["status"]);
        let modules = status["modules"].as_array().unwrap();
        modules.iter().map(|module| u32::try_from(module["process"].as_u64().unwrap()).unwrap()).collect()
    }
}

impl Drop for Solution {
    fn drop(&mut self) {
        // Whatever a test left; most leave nothing.
        let _ = edgectl(&self.root()).args(["sim", "down"]).output();
    }
}

pub fn module(image: &str) -> Value {
    json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "env": { "MessageDelay": { "value": "00:00:00.1" }, "MessageCount": { "value": "-1" } },
        "settings": { "image": image, "createOptions": {} },
    })
}

pub fn signal(child: &Child, name: &str) {
    assert!(std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

pub fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // A process that nobody has waited for yet is dead all the same.
    !stat.is_empty() && !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

#[test]
fn ctrl_c_stops_everything() {
    let solution = Solution::new();
    let mut device = solution.up();
    solution.edgectl(&["deploy"]).assert().success();
    let processes = solution.processes();
    assert_eq!(processes.len(), 2);
    signal(&device, "-INT");
    assert_eq!(device.wait().unwrap().code(), Some(130));
    for process in processes {
        assert!(!is_alive(process), "{process} is still there");
    }
    refused(solution.edgectl(&["status"]).assert(), 1, "no simulated device is running");
}

#[test]
fn ctrl_c_while_building_leaves_no_process_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    for arguments in [&["demo"][..], &["build"]] {
        let solution = Solution::with(json!({ "slow": module("${MODULES.slow}") }));
        build_files(&solution.root().join("modules/slow"), "slow");
        // A Python that never comes back, under a number that nobody else sleeps for.
        let tools = tempdir().unwrap();
        let seconds = format!("9{}", std::process::id());
        let python = tools.path().join("python3");
        fs::write(&python, format!("#!/bin/sh\nsleep {seconds}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("edgectl"))
            .args(arguments)
            .current_dir(solution.root())
            .env("PATH", format!("{}:/usr/bin:/bin", tools.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the tool runs", || !sleepers(&seconds).is_empty());
        signal(&command, "-INT");
        assert_eq!(command.wait().unwrap().code(), Some(130), "{arguments:?}");
        wait_until("the tool is gone", || sleepers(&seconds).is_empty());
    }
}

/// Processes that sleep for so many seconds.
pub fn sleepers(seconds: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let sleeps = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        line == format!("sleep\0{seconds}\0").into_bytes() && is_alive(*process)
    };
    numbers.filter(sleeps).collect()
}

#[test]
fn a_killed_simulator_takes_its_modules_along_and_what_was_acknowledged_stays() {
    let solution = Solution::new();
    let mut device = solution.up();
    solution.edgectl(&["deploy"]).assert().success();
    solution.edgectl(&["events", "-f", "--count", "3"]).assert().success();
    let processes = solution.processes();
    let before = solution.json(&["status"])["receivedByCloud"].as_u64().unwrap();
    signal(&device, "-KILL");
    device.wait().unwrap();
    for process in processes {
        wait_until("the module is gone", || !is_alive(process));
    }
    // It goes on where it was, modules and all.
    let mut device = solution.up();
    let after = solution.json(&["status"])["receivedByCloud"].as_u64().unwrap();
    assert!(after >= before, "{after} of {before}");
    wait_until("messages flow again", || solution.json(&["status"])["receivedByCloud"].as_u64().unwrap() > after);
    signal(&device, "-TERM");
    assert_eq!(device.wait().unwrap().code(), Some(143));
}

#[test]
fn a_module_that_dies_is_started_again() {
    let solution = Solution::new();
    let mut device = solution.up();
    solution.edgectl(&["deploy"]).assert().success();
    let status = solution.json(&["status"]);
    let filter = status["modules"].as_array().unwrap().iter().find(|module| module["name"] == "filter").unwrap();
    let process = filter["process"].as_u64().unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
    wait_until("the filter runs again", || {
        let status = solution.json(&["status"]);
        let modules = status["modules"].as_array().unwrap();
        let filter = modules.iter().find(|module| module["name"] == "filter").unwrap();
        filter["status"] == "running" && filter["process"].as_u64().is_some_and(|now| now != process)
    });
    signal(&device, "-INT");
    device.wait().unwrap();
}

#[test]
fn two_solutions_run_side_by_side() {
    let (one, two) = (Solution::new(), Solution::new());
    let first = one.json(&["sim", "up", "-d"]);
    let second = two.json(&["sim", "up", "-d"]);
    assert_ne!(first["gatewayHostName"], second["gatewayHostName"]);
    for solution in [&one, &two] {
        solution.edgectl(&["deploy"]).assert().success();
        solution.edgectl(&["events", "-f", "--count", "1"]).assert().success();
    }
    one.edgectl(&["sim", "down"]).assert().success();
    two.edgectl(&["status"]).assert().success();
    two.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn all_devices_of_a_user_are_listed_until_their_state_is_gone() {
    let home = tempdir().unwrap();
    let solution = Solution::new();
    let listed = || -> Vec<Value> {
        let output = edgectl(home.path()).env("XDG_STATE_HOME", home.path()).args(["sim", "list", "--json"]).output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    };
    assert_eq!(listed(), Vec::<Value>::new());
    let up = |arguments: &[&str]| {
        let started = solution.edgectl(arguments).env("XDG_STATE_HOME", home.path()).assert().success();
        String::from_utf8(started.get_output().stdout.clone()).unwrap()
    };
    assert!(up(&["sim", "up", "-d"]).contains("Next: edgectl deploy\n"));
    let below = up(&["--device", "child", "sim", "up", "-d", "--parent", "plant"]);
    assert!(below.contains("Next: edgectl --device child deploy\n"), "{below}");
    let devices = listed();
    let names: Vec<&str> = devices.iter().map(|device| device["device"].as_str().unwrap()).collect();
    assert_eq!(names, ["child", "plant"]);
    assert!(devices.iter().all(
        |device| device["running"] == true && is_alive(u32::try_from(device["process"].as_u64().unwrap()).unwrap())
    ));
    assert_eq!(devices[0]["endpoints"]["parent"], "plant", "{devices:?}");
    up(&["--device", "child", "sim", "down"]);
    assert_eq!(listed()[0]["running"], false);
    up(&["sim", "down"]);
    fs::remove_dir_all(solution.root().join(".edgectl")).unwrap();
    assert_eq!(listed(), Vec::<Value>::new());
}

#[test]
fn a_device_runs_once_and_says_who_runs() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    refused(solution.edgectl(&["sim", "up", "-d"]).assert(), 1, "running already (process");
    refused(solution.edgectl(&["sim", "up"]).assert(), 1, "running already (process");
    solution.edgectl(&["sim", "down"]).assert().success().stdout("The simulated device is stopped.\n");
    solution.edgectl(&["sim", "down"]).assert().success().stdout("No simulated device was running.\n");
}

#[test]
fn a_port_in_use_is_told_with_who_uses_it() {
    let solution = Solution::new();
    let _holder = std::net::TcpListener::bind("127.0.253.1:8883").unwrap();
    let refusal = solution.edgectl(&["sim", "up", "-d", "--address", "127.0.253.1"]).assert();
    refused(refusal, 1, &"127.0.253.1:8883 is in use by integration-".to_string()[..30]);
    let refusal = solution.edgectl(&["sim", "up", "-d", "--address", "10.0.0.1"]).assert();
    refused(refusal, 2, "10.0.0.1 is not an address for a device");
}

#[test]
fn without_a_device_there_is_nothing_to_talk_to() {
    let solution = Solution::new();
    for arguments in [
        &["deploy"][..],
        &["status"],
        &["logs", "filter"],
        &["restart", "filter"],
        &["events"],
        &["twin", "get"],
        &["method", "invoke", "filter", "x"],
        &["message", "send", "filter", "input1", "{}"],
    ] {
        refused(solution.edgectl(arguments).assert(), 1, "no simulated device is running");
    }
    let nowhere = tempdir().unwrap();
    refused(edgectl(nowhere.path()).arg("status").assert(), 2, "no solution in");
}

#[test]
fn modules_are_restarted_by_name_and_none_when_a_name_is_unknown() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    refused(solution.edgectl(&["restart", "filter", "Fliter"]).assert(), 1, "Did you mean `filter`?");
    let restarted = solution.edgectl(&["--json", "restart", "filter", "filter"]).assert().success();
    let answer: Value = serde_json::from_slice(&restarted.get_output().stdout).unwrap();
    assert_eq!(answer, json!({ "restarted": ["filter"] }));
}

#[test]
fn a_module_that_crashes_at_its_start_is_named() {
    let crashing = json!({ "crash": module("crash:1") });
    let solution = Solution::with(crashing);
    build_crashing_image(&solution.root());
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "module crash does not stay up");
    // It is started again at once after its first end, and after the second one not for a while.
    let logs = solution.edgectl(&["logs", "crash"]).assert().success();
    let logs = String::from_utf8_lossy(&logs.get_output().stdout).into_owned();
    assert!(logs.lines().all(|line| line == "about to crash") && (1..=2).contains(&logs.lines().count()), "{logs}");
}

#[test]
fn an_image_that_was_not_built_is_named() {
    let solution = Solution::with(json!({ "other": module("nowhere/other:1") }));
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "nowhere/other:1");
}

#[test]
fn damaged_state_is_told_with_the_file_and_what_to_do() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["sim", "down"]).assert().success();
    for file in ["endpoints.json", "service.json", "cloud/documents", "edge/documents"] {
        let path = solution.root().join(".edgectl/device").join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, "damage").unwrap();
        let assert = solution.edgectl(&["sim", "up", "-d"]).assert();
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        refused(assert, 1, file.rsplit('/').next().unwrap());
        assert!(text.contains("remove the directory `.edgectl`"), "{text}");
        fs::write(&path, good).unwrap();
    }
    fs::remove_dir_all(solution.root().join(".edgectl")).unwrap();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
}

#[test]
fn removing_the_state_ends_the_device() {
    let solution = Solution::new();
    let mut device = solution.up();
    fs::remove_dir_all(solution.root().join(".edgectl")).unwrap();
    assert_eq!(device.wait().unwrap().code(), Some(1));
}

#[test]
fn state_is_the_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let state = solution.root().join(".edgectl");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in ["service.json", "authority/root-ca.pem"] {
        assert_eq!(mode(&state.join("device").join(file)), 0o600, "{file}");
    }
    // Keys stand in no command line.
    let key: Value = serde_json::from_slice(&fs::read(state.join("device/service.json")).unwrap()).unwrap();
    let key = key["sharedAccessKey"].as_str().unwrap();
    for process in solution.processes() {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains(key));
    }
}

/// Makes a module that says something and fails, lets the template name it, and builds it.
fn build_crashing_image(root: &Path) {
    build_files(&root.join("modules/crash"), "crash");
    let path = root.join("deployment.template.json");
    let text = fs::read_to_string(&path).unwrap().replace("crash:1", "${MODULES.crash}");
    fs::write(&path, text).unwrap();
    edgectl(root).arg("build").timeout(TIMEOUT * 3).assert().success();
}

/// Builds a module of one Python program, which the template names `${MODULES.name}`.
pub fn build_image(root: &Path, name: &str, program: &str) {
    let module = root.join("modules").join(name);
    build_files(&module, name);
    fs::write(module.join("main.py"), program).unwrap();
    edgectl(root).arg("build").timeout(TIMEOUT * 3).assert().success();
}

fn build_files(module: &Path, name: &str) {
    fs::create_dir_all(module).unwrap();
    fs::write(module.join("requirements.txt"), "").unwrap();
    fs::write(module.join("main.py"), "print('about to crash', flush=True)\nraise SystemExit(3)\n").unwrap();
    let file = json!({
        "language": "python",
        "image": { "repository": name, "tag": { "version": "1", "platforms": { "amd64": "Dockerfile" } } },
    });
    fs::write(module.join("module.json"), file.to_string()).unwrap();
}

/// The messages that the cloud hub has received.
pub fn received(solution: &Solution) -> u64 {
    solution.json(&["status"])["receivedByCloud"].as_u64().unwrap()
}

#[test]
fn a_device_without_its_network_goes_on_and_catches_up() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    wait_until("a message is in the cloud", || received(&solution) > 0);

    assert_eq!(solution.json(&["sim", "network", "offline"])["online"], false);
    let waiting = || solution.json(&["status"])["hub"]["queues"]["iothub"].as_u64().unwrap_or_default();
    // The route between the modules is what fills the queue for the cloud.
    wait_until("messages wait for the cloud", || waiting() > 5);
    let cut = received(&solution);
    wait_until("more of them wait", || waiting() > 10);
    assert_eq!(received(&solution), cut, "nothing gets through");
    let shown = solution.edgectl(&["status"]).assert().success();
    assert!(String::from_utf8_lossy(&shown.get_output().stdout).contains("The device is offline."));

    solution.edgectl(&["sim", "network", "online"]).assert().success();
    wait_until("the backlog is gone", || waiting() < 3 && received(&solution) > cut + 10);
    let slow = solution.json(&["sim", "network", "set", "--latency", "20ms", "--direction", "up"]);
    assert_eq!((&slow["up"]["latencyMs"], &slow["down"]["latencyMs"]), (&json!(20), &json!(0)));
    let before = received(&solution);
    wait_until("messages come through a slow network", || received(&solution) > before);
    assert_eq!(solution.json(&["sim", "network", "reset"])["up"]["latencyMs"], 0);
    refused(solution.edgectl(&["sim", "network", "set"]).assert(), 2, "there is no fault to set");

    // In order, each once or more, none lost.
    let events = solution.edgectl(&["events", "--json"]).assert().success();
    let events = String::from_utf8_lossy(&events.get_output().stdout).into_owned();
    let times: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["body"]["timeCreated"].as_str().unwrap().to_owned())
        .collect();
    assert!(times.len() > 10 && times.is_sorted(), "{times:?}");
}

#[test]
fn an_edge_agent_that_is_too_old_to_run_below_another_device_is_told() {
    let solution = Solution::with(json!({}));
    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let agent = &mut template["modulesContent"]["$edgeAgent"]["properties.desired"]["systemModules"]["edgeAgent"];
    agent["settings"]["image"] = json!("mcr.microsoft.com/azureiotedge-agent:1.1.15");
    fs::write(&path, template.to_string()).unwrap();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let alone = solution.edgectl(&["deploy"]).assert().success();
    assert!(!String::from_utf8_lossy(&alone.get_output().stderr).contains("that came with 1.2"));
    solution.edgectl(&["--device", "child", "sim", "up", "-d", "--parent", "plant"]).assert().success();
    let told = solution.edgectl(&["--device", "child", "deploy"]).assert().success();
    assert!(String::from_utf8_lossy(&told.get_output().stderr).contains("that came with 1.2"));
    // Below another one a bundle is made of what the device itself knows.
    solution.edgectl(&["--device", "child", "support-bundle", "-o", "child.zip"]).assert().success();
    solution.edgectl(&["--device", "child", "sim", "down"]).assert().success();
}

#[test]
fn a_message_can_be_followed_to_where_it_is() {
    let solution = Solution::new();
    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let routes = &mut template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"];
    routes["hot"] = json!("FROM /messages/* WHERE as_number(level) > 5 INTO $upstream");
    routes["toNobody"] = json!({
        "route": "FROM /messages/* WHERE kind = 'lost' INTO BrokeredEndpoint(\"/modules/nobody/inputs/in\")",
        "timeToLiveSecs": 1000, "priority": 3
    });
    fs::write(&path, template.to_string()).unwrap();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();

    let last_of_leaf = || {
        let traces = solution.json(&["message", "trace", "--last", "256"]);
        let traces = traces.as_array().unwrap().clone();
        traces.into_iter().rev().find(|trace| trace["from"] == "leaf").unwrap()
    };
    let send = |property: &str| {
        solution.edgectl(&["message", "send", "--leaf", "leaf", "{\"t\": 1}", "-p", property]).assert().success();
    };
    send("level=3");
    let trace = last_of_leaf();
    assert_eq!((&trace["outcome"], &trace["source"]), (&json!("noRoute"), &json!("/messages/")));
    let route = |trace: &Value, name: &str| {
        trace["routes"].as_array().unwrap().iter().find(|route| route["name"] == name).unwrap().clone()
    };
    assert_eq!(route(&trace, "sensorToFilter")["result"], "otherSource");
    assert_ne!(route(&trace, "toNobody")["result"], "taken");
    let number = trace["number"].to_string();
    let shown = solution.edgectl(&["message", "trace", &number]).assert().success();
    assert!(String::from_utf8_lossy(&shown.get_output().stdout).contains("dropped: no route takes it"));

    send("kind=lost");
    let trace = last_of_leaf();
    assert_eq!(trace["outcome"], "waiting");
    assert_eq!(trace["queues"][0]["endpoint"], "plant/nobody/in");
    assert_eq!((&trace["queues"][0]["priority"], &trace["queues"][0]["waiting"]), (&json!(3), &json!(1)));

    let sent = solution.json(&["message", "send", "filter", "input1", "{\"machine\": {\"temperature\": 90}}"]);
    let number = sent["number"].to_string();
    wait_until("the filter has it", || solution.json(&["message", "trace", &number])[0]["outcome"] == "delivered");
    refused(solution.edgectl(&["message", "trace", "no-such-message"]).assert(), 1, "remembers no message");
}

#[test]
fn logs_of_several_modules_come_in_the_order_of_time() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let output = solution.edgectl(arguments).arg("--json").assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let of = |lines: &[Value], module: &str| lines.iter().filter(|line| line["module"] == module).count();
    wait_until("both have printed", || {
        let lines = lines(&["logs"]);
        of(&lines, "filter") > 0 && of(&lines, "SimulatedTemperatureSensor") > 1
    });
    let all = lines(&["logs", "filter", "SimulatedTemperatureSensor", "--since", "1h"]);
    let times: Vec<jiff::Timestamp> =
        all.iter().map(|line| line["timestamp"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let first = all.iter().find(|line| line["module"] == "SimulatedTemperatureSensor").unwrap().clone();
    let until = lines(&["logs", "SimulatedTemperatureSensor", "--until", first["timestamp"].as_str().unwrap()]);
    assert_eq!(until, [first]);
    assert_eq!(lines(&["logs", "--filter", "no module prints this"]), Vec::<Value>::new());
    let text = solution.edgectl(&["logs", "--tail", "1"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().any(|line| line.starts_with("filter ")), "{text}");
    refused(solution.edgectl(&["logs", "--since", "yesterday"]).assert(), 2, "10m");
    refused(solution.edgectl(&["logs", "nobody"]).assert(), 1, "nobody");

    let request = r#"{"schemaVersion":"1.0","items":[{"id":"^sim","filter":{"tail":2}}],"contentType":"json"}"#;
    let answer = solution.json(&["method", "invoke", "$edgeAgent", "GetModuleLogs", request]);
    assert_eq!(
        (answer["status"].as_i64(), answer["payload"][0]["id"].as_str()),
        (Some(200), Some("SimulatedTemperatureSensor")),
        "{answer}"
    );
    let payload: Value = serde_json::from_str(answer["payload"][0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(
        (payload.as_array().unwrap().len(), payload[0]["device"].as_str(), payload[0]["loglevel"].as_i64()),
        (2, Some("plant"), Some(6))
    );
    let packed = r#"{"schemaVersion":"1.0","items":[{"id":"filter"}],"encoding":"gzip"}"#;
    let answer = solution.json(&["method", "invoke", "$edgeAgent", "getmodulelogs", packed]);
    // The first bytes of what is compressed with gzip, in base64.
    assert!(answer["payload"][0]["payloadBytes"].as_str().unwrap().starts_with("H4sI"), "{answer}");

    let filter = solution.json(&["inspect", "filter"]);
    assert_eq!((filter["identity"].as_str(), filter["status"].as_str()), (Some("plant/filter"), Some("running")));
    assert_eq!(filter["env"]["MessageDelay"], "00:00:00.1", "{filter}");
    assert_eq!(filter["deployment"]["restartPolicy"], "always", "{filter}");
    assert_eq!(filter["routes"].as_object().unwrap().len(), 2, "{filter}");
    solution.edgectl(&["inspect", "filter"]).assert().success().stdout(predicates::str::contains("filterToCloud"));
    refused(solution.edgectl(&["inspect", "nobody"]).assert(), 1, "no module nobody");
}

#[test]
fn metrics_have_the_real_hubs_names_and_count_what_happened() {
    let solution = Solution::new();
    let started = solution.json(&["sim", "up", "-d", "--metrics-port", "0"]);
    solution.edgectl(&["deploy"]).assert().success();
    wait_until("messages are in the cloud", || received(&solution) > 2);
    let sent = |to: &str| {
        let families = solution.json(&["metrics", "edgehub_messages_sent_total"]);
        let samples = families[0]["samples"].as_array().cloned().unwrap_or_default();
        samples.into_iter().find(|sample| sample["labels"]["to"] == to)
    };
    wait_until("both deliveries are counted", || sent("upstream").is_some() && sent("plant/filter").is_some());
    let upstream = sent("upstream").unwrap();
    assert!(upstream["value"].as_f64().unwrap() >= 1.0, "{upstream}");
    assert_eq!(upstream["labels"]["from"], "plant/filter");
    assert_eq!(upstream["labels"]["edge_device"], "plant");
    let inward = sent("plant/filter").unwrap();
    assert_eq!(inward["labels"]["from_route_output"], "temperatureOutput", "{inward}");
    assert_eq!(inward["labels"]["to_route_input"], "input1", "{inward}");

    let text = solution.edgectl(&["metrics"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    for part in [
        "# TYPE edgehub_messages_received_total counter\n",
        "# TYPE edgehub_message_size_bytes summary\n",
        "edgehub_connected_clients{",
        "edgehub_client_connect_success_total{edge_device=\"plant\",id=\"plant/filter\",instance_number=\"",
        "quantile=\"0.9999\"} ",
        "edgehub_message_size_bytes_count{",
        "edgehub_gettwin_total{",
        "# TYPE edgeAgent_module_start_total counter\n",
        "edgeAgent_total_time_running_correctly_seconds{",
        "edgeAgent_total_memory_bytes{",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.to_ascii_lowercase().starts_with("edge") && series.ends_with('}'), "{line}");
        assert!(value == "NaN" || value.parse::<f64>().is_ok(), "{line}");
    }
    let processes = || solution.json(&["metrics", "edgeAgent_created_pids_total"]).to_string();
    wait_until("the agent looks at the modules' processes", || processes().contains(r#""module_name":"filter""#));
    let starts = solution.json(&["metrics", "edgeagent_module_start"]);
    assert_eq!(starts[0]["samples"].as_array().unwrap().len(), 2, "{starts}");

    let address = started["metricsUrl"].as_str().and_then(|url| url.strip_prefix("http://")?.strip_suffix("/metrics"));
    let mut scraper = TcpStream::connect(address.unwrap()).unwrap();
    scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: device\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    scraper.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("\nedgehub_queue_length{") && answer.contains("\nedgeAgent_metadata{"), "{answer}");

    solution.edgectl(&["sim", "down"]).assert().success();
    refused(solution.edgectl(&["metrics"]).assert(), 1, "no simulated device is running");
}

#[test]
fn a_solution_in_a_path_that_is_too_long_for_sockets_runs_like_any_other() {
    let place = tempdir().unwrap();
    let deep = place.path().join("a".repeat(90)).join("b".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    edgectl(&deep).args(["new", "plant", "--no-module"]).assert().success();
    let root = deep.join("plant");
    edgectl(&root).args(["sim", "up", "-d"]).assert().success();
    edgectl(&root).arg("deploy").timeout(TIMEOUT).assert().success();
    // The module came through the workload API.
    edgectl(&root)
        .args(["exec", "SimulatedTemperatureSensor", "sh", "-c"])
        .arg("test -S ${IOTEDGE_WORKLOADURI#unix://}")
        .assert()
        .success();
    edgectl(&root).args(["sim", "down"]).timeout(TIMEOUT).assert().success();
}
