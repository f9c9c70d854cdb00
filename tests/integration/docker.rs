//! Modules as containers of a real engine.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};
use crate::docker_engine::{Registry, Wire, builtin_image, docker, empty_image, host, image};

const TIMEOUT: Duration = Duration::from_mins(2);
const SENSOR: &str = "simulated-temperature-sensor";

/// A solution with a device of its own on the engine; nothing of it is left there.
struct Solution {
    place: TempDir,
    name: String,
    engine: String,
}

impl Solution {
    /// A solution in which the sensor's readings go through the filter to the cloud.
    fn new(modules: Value) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let place = tempdir().unwrap();
        let name = format!("edgectl-tests-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        edgectl(place.path()).args(["new", &name, "--no-module"]).assert().success();
        let solution = Self { place, name, engine: host().to_owned() };
        solution.deploys(modules);
        solution
    }

    fn root(&self) -> PathBuf {
        self.place.path().join(&self.name)
    }

    /// From now on it deploys these modules.
    fn deploys(&self, modules: Value) {
        let path = self.root().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let content = &mut template["modulesContent"];
        let mut routes = json!({});
        if modules.get("filter").is_some() {
            content["filter"] = json!({ "properties.desired": { "TemperatureThreshold": 0 } });
            routes["filterToCloud"] = json!("FROM /messages/modules/filter/outputs/* INTO $upstream");
            if modules.get("sensor").is_some() {
                let source = "FROM /messages/modules/sensor/outputs/temperatureOutput";
                routes["sensorToFilter"] =
                    json!(format!("{source} INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")"));
            }
        }
        content["$edgeAgent"]["properties.desired"]["modules"] = modules;
        content["$edgeHub"]["properties.desired"]["routes"] = routes;
        fs::write(&path, template.to_string()).unwrap();
    }

    fn edgectl(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = edgectl(&self.root());
        command.args(arguments).env("DOCKER_HOST", &self.engine).timeout(TIMEOUT);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.edgectl(arguments).arg("--json").assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    /// Starts the device in the background, with every module in a container.
    fn up(&self) {
        self.edgectl(&["sim", "up", "-d", "--runtime", "docker"]).assert().success();
    }

    /// Starts the device in a process that can be killed.
    fn up_here(&self) -> Child {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("edgectl"))
            .args(["--json", "sim", "up", "--runtime", "docker"])
            .current_dir(self.root())
            .env("DOCKER_HOST", &self.engine)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("gatewayHostName"), "{line}");
        child
    }

    fn deploy(&self) {
        self.edgectl(&["deploy"]).assert().success();
    }

    fn down(&self) {
        self.edgectl(&["sim", "down"]).assert().success();
    }

    /// The name of a module's container.
    fn container(&self, module: &str) -> String {
        format!("{}-{module}", self.name)
    }

    /// What the engine says of a module's container, by a path of its inspection.
    fn inspect(&self, module: &str, path: &str) -> String {
        docker(&["inspect", "--format", &format!("{{{{json {path}}}}}"), &self.container(module)])
    }

    /// The names of the device's containers.
    fn containers(&self) -> BTreeSet<String> {
        let filter = format!("name={}-", self.name);
        docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
    }

    fn networks(&self) -> String {
        docker(&["network", "ls", "--filter", &format!("name=edgectl-{}", self.name), "--format", "{{.Name}}"])
    }

    fn module(&self, name: &str) -> Value {
        let status = self.json(&["status"]);
        let modules = status["modules"].as_array().unwrap();
        modules.iter().find(|module| module["name"] == name).cloned().unwrap_or_default()
    }

    fn received(&self) -> u64 {
        self.json(&["status"])["receivedByCloud"].as_u64().unwrap()
    }
}

impl Drop for Solution {
    fn drop(&mut self) {
        // Whatever a test left; most leave nothing.
        let _ = edgectl(&self.root()).args(["sim", "down"]).output();
        for container in self.containers() {
            let _ = std::process::Command::new("docker").args(["-H", host(), "rm", "-f", &container]).output();
        }
        let network = format!("edgectl-{}", self.name);
        let _ = std::process::Command::new("docker").args(["-H", host(), "network", "rm", &network]).output();
    }
}

/// A module that runs a built-in one in a container, with more options if wanted.
fn builtin(word: &str, options: Value) -> Value {
    program(&["/bin/edgectl", "internal", "builtin", word], options)
}

fn program(entrypoint: &[&str], mut options: Value) -> Value {
    options["Entrypoint"] = json!(entrypoint);
    module(image(), options)
}

fn module(image: &str, options: Value) -> Value {
    json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "env": { "MessageDelay": { "value": "00:00:00.1" }, "MessageCount": { "value": "-1" } },
        "settings": { "image": image, "createOptions": options },
    })
}

fn both() -> Value {
    json!({ "sensor": builtin(SENSOR, json!({})), "filter": builtin("filter", json!({})) })
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// The form of an event: who sent it, and which members it has.
fn form(event: &Value) -> Value {
    fn names(value: &Value) -> Value {
        match value {
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), names(value))).collect(),
            _ => Value::Null,
        }
    }
    json!([event["moduleId"], names(&event["body"]), names(&event["properties"]), names(&event["systemProperties"])])
}

#[test]
fn the_same_solution_gives_the_same_events_from_processes_and_from_containers() {
    let sensor = builtin_image("azureiotedge-simulated-temperature-sensor", SENSOR);
    let filter = builtin_image("edgectl-filter", "filter");
    let modules = json!({ "sensor": module(&sensor, json!({})), "filter": module(&filter, json!({})) });
    let mut forms = BTreeSet::new();
    for (runtime, runs_as) in [("process", "built-in filter"), ("docker", "container")] {
        let solution = Solution::new(modules.clone());
        let settings = solution.root().join("edgectl.yaml");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{text}\nruntime: {runtime}\n")).unwrap();
        solution.edgectl(&["validate"]).assert().success();
        solution.edgectl(&["sim", "up", "-d"]).assert().success();
        solution.deploy();
        assert!(solution.module("filter")["runsAs"].as_str().unwrap().starts_with(runs_as));
        let events = solution.edgectl(&["events", "-f", "--count", "2", "--json"]).assert().success();
        for line in String::from_utf8_lossy(&events.get_output().stdout).lines() {
            forms.insert(form(&serde_json::from_str(line).unwrap()).to_string());
        }
        solution.down();
        assert_eq!(solution.containers(), BTreeSet::new());
        assert_eq!(solution.networks(), "");
    }
    assert_eq!(forms.len(), 1, "{forms:?}");
}

#[test]
fn a_container_is_made_as_the_options_say() {
    let options = json!({
        "User": "1000:1000", "FutureOption": { "any": [1] }, "Labels": { "own": "1" },
        "HostConfig": { "Memory": 268_435_456_u64, "FutureLimit": "x" },
    });
    let wire = Wire::new();
    let mut solution = Solution::new(json!({ "filter": builtin("filter", options) }));
    solution.engine = wire.host();
    solution.up();
    solution.deploy();
    assert_eq!(solution.inspect("filter", ".HostConfig.Memory"), "268435456");
    assert_eq!(solution.inspect("filter", ".Config.User"), "\"1000:1000\"");
    assert_eq!(solution.inspect("filter", ".Config.Labels.own"), "\"1\"");
    // The engine passes over what it does not know; it was told all the same.
    assert!(wire.has_heard(r#""FutureOption":{"any":[1]}"#) && wire.has_heard(r#""FutureLimit":"x""#));
    // A user that owns nothing reaches the workload API and the edge hub.
    wait_until("the filter is connected", || solution.module("filter")["connected"] == true);
    solution.down();
}

#[test]
fn a_module_that_crashes_waits_before_it_is_started_again() {
    let crashing = program(&["/bin/edgectl", "no-such-command"], json!({}));
    let solution = Solution::new(json!({ "crash": crashing }));
    solution.up();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "module crash does not stay up");
    wait_until("it waits", || solution.module("crash")["status"] == "backoff");
    assert_eq!(solution.inspect("crash", ".State.ExitCode"), "2");
    let logs = solution.edgectl(&["logs", "crash"]).assert().success();
    let logs = String::from_utf8_lossy(&logs.get_output().stdout).into_owned();
    assert!(logs.contains("no-such-command"), "{logs}");
    wait_until("it was started again", || solution.module("crash")["restarts"].as_u64() >= Some(1));
    // The engine has no say in it.
    assert_eq!(solution.inspect("crash", ".HostConfig.RestartPolicy.Name"), "\"\"");
    solution.down();
}

#[test]
fn a_new_image_replaces_the_container_and_a_module_that_is_left_out_is_removed() {
    let solution = Solution::new(both());
    solution.up();
    solution.deploy();
    let before = solution.inspect("filter", ".Id");
    let other = builtin_image("updated-filter", "filter");
    solution.deploys(json!({ "sensor": builtin(SENSOR, json!({})), "filter": module(&other, json!({})) }));
    solution.deploy();
    wait_until("the image is new", || solution.inspect("filter", ".Config.Image") == format!("{other:?}"));
    assert_ne!(solution.inspect("filter", ".Id"), before);
    assert_eq!(solution.containers(), BTreeSet::from([solution.container("filter"), solution.container("sensor")]));
    solution.deploys(json!({ "sensor": builtin(SENSOR, json!({})) }));
    solution.deploy();
    wait_until("the filter is gone", || solution.containers() == BTreeSet::from([solution.container("sensor")]));
    solution.down();
}

#[test]
fn a_command_runs_in_the_container_and_its_status_is_ours() {
    let solution = Solution::new(both());
    solution.up();
    solution.deploy();
    let run = |arguments: &[&str]| {
        let mut command = solution.edgectl(&["exec", "filter", "--", "/bin/edgectl"]);
        command.args(arguments);
        command
    };
    run(&["version"]).assert().success().stdout(predicates::str::starts_with("edgectl "));
    run(&["-C", "/", "validate", "-"]).write_stdin("{").assert().failure();
    // Behind a terminal the command has one too, which ends lines in its own way.
    let terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = std::process::Command::new("python3");
    command.args(["-c", terminal]).arg(assert_cmd::cargo::cargo_bin!("edgectl"));
    command.args(["exec", "filter", "--", "/bin/edgectl", "version"]).current_dir(solution.root());
    let output = command.env("DOCKER_HOST", host()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("edgectl ") && text.contains("\r\n"), "{text}");
    run(&["--no-such-flag"]).assert().code(2).stdout("").stderr(predicates::str::contains("--no-such-flag"));
    solution.edgectl(&["exec", "filter", "--", "/bin/nothing"]).assert().code(predicates::ord::gt(125));
}

#[test]
fn logs_are_read_and_followed_over_a_restart() {
    let solution = Solution::new(json!({ "filter": builtin("filter", json!({})) }));
    solution.up();
    solution.deploy();
    // It prints only after it has connected.
    let tail = || {
        let tail = solution.edgectl(&["logs", "filter", "--tail", "1"]).assert().success();
        String::from_utf8_lossy(&tail.get_output().stdout).lines().count()
    };
    wait_until("the filter has printed", || tail() > 0);
    assert_eq!(tail(), 1);
    let mut follower = std::process::Command::new(assert_cmd::cargo::cargo_bin!("edgectl"))
        .args(["logs", "filter", "-f"])
        .current_dir(solution.root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    let starts = |line: &String| line.contains("filter is running");
    assert!(lines.by_ref().any(|line| starts(&line)));
    docker(&["kill", &solution.container("filter")]);
    assert!(lines.by_ref().any(|line| starts(&line)), "the second start is followed too");
    solution.down();
    assert_eq!(lines.filter(starts).count(), 0);
    follower.wait().unwrap();
}

#[test]
fn a_container_name_that_is_taken_is_told_and_left_alone() {
    let solution = Solution::new(json!({ "filter": builtin("filter", json!({})) }));
    let foreign = docker(&["create", "--name", &solution.container("filter"), image()]);
    solution.up();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "that is not this device's");
    solution.down();
    assert_eq!(solution.inspect("filter", ".Id"), format!("{foreign:?}"));
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_with_the_engines_reason() {
    let solution = Solution::new(json!({ "other": module("127.0.0.1:1/other:1", json!({})) }));
    solution.up();
    let refusal = solution.edgectl(&["deploy"]).assert();
    let text = String::from_utf8_lossy(&refusal.get_output().stderr).into_owned();
    refused(refusal, 1, "image \"127.0.0.1:1/other:1\" is not available");
    assert!(text.contains("connection refused"), "{text}");
    solution.down();
}

#[test]
fn an_image_is_pulled_with_the_credentials_of_the_deployment_or_of_the_user() {
    let registry = Registry::start();
    let image = format!("{}/other:1", registry.address);
    let solution = Solution::new(json!({ "other": module(&image, json!({})) }));
    solution.up();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "cannot be pulled");
    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let settings = &mut template["modulesContent"]["$edgeAgent"]["properties.desired"]["runtime"]["settings"];
    // In base64 it has characters that are not the same in both alphabets.
    let credential = json!({ "address": registry.address, "username": "device", "password": "~~>?>?ß" });
    settings["registryCredentials"] = json!({ "tests": credential });
    fs::write(&path, template.to_string()).unwrap();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "cannot be pulled");
    wait_until("the registry is told who asks", || registry.was_told("device", "~~>?>?ß"));
    solution.down();

    let settings = tempdir().unwrap();
    let login = json!({ "auths": { registry.address.as_str(): { "auth": BASE64.encode("user:own") } } });
    fs::write(settings.path().join("config.json"), login.to_string()).unwrap();
    let solution = Solution::new(json!({ "other": module(&image, json!({})) }));
    let up = &["sim", "up", "-d", "--runtime", "docker"];
    solution.edgectl(up).env("DOCKER_CONFIG", settings.path()).assert().success();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "cannot be pulled");
    wait_until("the registry is told who asks", || registry.was_told("user", "own"));
    solution.down();
}

#[test]
fn an_image_for_another_machine_is_told() {
    let (machine, handler) = if cfg!(target_arch = "aarch64") { ("amd64", "x86_64") } else { ("arm64", "aarch64") };
    if Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{handler}")).exists() {
        println!("passed over: this machine emulates {machine}");
        return;
    }
    let image = empty_image(machine);
    let solution = Solution::new(json!({ "other": module(&image, json!({})) }));
    solution.up();
    refused(solution.edgectl(&["deploy"]).assert(), 1, &format!("it is for {machine} and the engine runs"));
    solution.down();
}

#[test]
fn containers_that_could_not_be_removed_are_removed_at_the_next_start() {
    let wire = Wire::new();
    let mut solution = Solution::new(json!({ "filter": builtin("filter", json!({})) }));
    solution.engine = wire.host();
    solution.up();
    solution.deploy();
    wire.cut();
    solution.down();
    assert_eq!(solution.containers().len(), 1);
    wire.mend();
    solution.edgectl(&["sim", "up", "-d", "--runtime", "process"]).assert().success();
    assert_eq!((solution.containers().len(), solution.networks().as_str()), (0, ""));
    solution.down();
}

#[test]
fn an_engine_that_goes_away_is_waited_for() {
    let wire = Wire::new();
    let mut solution = Solution::new(both());
    solution.engine = wire.host();
    solution.up();
    solution.deploy();
    solution.edgectl(&["events", "-f", "--count", "1"]).assert().success();
    wire.cut();
    // Its containers end with an engine that dies.
    for module in ["filter", "sensor"] {
        docker(&["kill", &solution.container(module)]);
    }
    wait_until("the agent notices", || solution.module("filter")["status"] == "unknown");
    let description = solution.module("filter")["description"].as_str().unwrap().to_owned();
    assert!(description.contains("does not answer"), "{description}");
    let before = solution.received();
    wire.mend();
    wait_until("messages flow again", || solution.received() > before);
    solution.down();
    assert_eq!((solution.containers().len(), solution.networks().as_str()), (0, ""));
}

#[test]
fn containers_that_a_killed_simulator_left_are_taken_over_and_never_doubled() {
    let solution = Solution::new(both());
    let mut device = solution.up_here();
    solution.deploy();
    solution.edgectl(&["events", "-f", "--count", "1"]).assert().success();
    device.kill().unwrap();
    device.wait().unwrap();
    let names = BTreeSet::from([solution.container("filter"), solution.container("sensor")]);
    assert_eq!(solution.containers(), names);
    let mut device = solution.up_here();
    let before = solution.received();
    wait_until("messages flow again", || solution.received() > before);
    assert_eq!(solution.containers(), names);
    device.kill().unwrap();
    device.wait().unwrap();
    // Who wants processes has no use for containers.
    solution.edgectl(&["sim", "up", "-d", "--runtime", "process"]).assert().success();
    assert_eq!((solution.containers().len(), solution.networks().as_str()), (0, ""));
    solution.down();
}

#[test]
fn a_process_and_a_container_speak_with_each_other() {
    let solution = Solution::new(json!({
        "sensor": module("azureiotedge-simulated-temperature-sensor:1.0", json!({})),
        "filter": builtin("filter", json!({})),
    }));
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    assert_eq!(solution.networks(), "", "without containers the engine is left alone");
    solution.deploy();
    solution.edgectl(&["events", "-f", "--count", "1"]).assert().success();
    assert_eq!(solution.containers(), BTreeSet::from([solution.container("filter")]));
    assert_eq!(solution.module("sensor")["runsAs"], format!("built-in {SENSOR}"));
    assert_eq!(solution.module("filter")["runsAs"], format!("container {}", solution.container("filter")));
    solution.down();
    assert_eq!((solution.containers().len(), solution.networks().as_str()), (0, ""));
}

#[test]
fn without_an_engine_it_is_told_what_is_missing() {
    let mut solution = Solution::new(json!({ "other": module("nowhere/other:1", json!({})) }));
    "unix:///nowhere/docker.sock".clone_into(&mut solution.engine);
    let refusal = solution.edgectl(&["sim", "up", "-d", "--runtime", "docker"]).assert();
    refused(refusal, 6, "there is no container engine at /nowhere/docker.sock");
    "ssh://somewhere".clone_into(&mut solution.engine);
    refused(solution.edgectl(&["sim", "up", "-d"]).assert(), 2, "is not where a container engine listens");
    "unix:///nowhere/docker.sock".clone_into(&mut solution.engine);
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let refusal = solution.edgectl(&["deploy"]).assert();
    let text = String::from_utf8_lossy(&refusal.get_output().stderr).into_owned();
    refused(refusal, 1, "neither built in nor built here");
    assert!(text.contains("there is no container engine at /nowhere/docker.sock"), "{text}");
}
