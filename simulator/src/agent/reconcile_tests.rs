//! The agent against a runtime that only remembers, on a clock that stands still while something is to be done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::clock::Clock as _;
use edgectl_hub::hand_clock::HandClock;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::environment::DeviceEnvironment;
use crate::agent::identity::{IdentityError, IdentityProvider, ModuleIdentity};
use crate::agent::metrics::AgentMetrics;
use crate::agent::reconcile::{Agent, AgentOptions};
use crate::agent::report::AgentFacts;
use crate::agent::restart::RestartRules;
use crate::profile::catalog;
use crate::profile::profile::Profile;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RegistryCredential, RuntimeError,
};

struct Remembering {
    modules: Mutex<BTreeMap<String, (ModuleSpec, ModuleState)>>,
    commands: Mutex<Vec<String>>,
    exits: watch::Sender<u64>,
    clock: Arc<HandClock>,
}

impl Remembering {
    fn note(&self, command: &str, name: &str) {
        self.commands.lock().unwrap().push(format!("{command} {name}"));
    }

    fn take_commands(&self) -> Vec<String> {
        std::mem::take(&mut self.commands.lock().unwrap())
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut ModuleState)) -> Result<(), RuntimeError> {
        let mut modules = self.modules.lock().unwrap();
        let (_, state) = modules.get_mut(name).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?;
        change(state);
        Ok(())
    }

    fn ended(&self, name: &str, status: ModuleStatus) {
        let now = self.clock.timestamp();
        self.change(name, |state| (state.status, state.exited_at) = (status, Some(now))).unwrap();
        self.exits.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl ModuleRuntime for Remembering {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        Ok(self.modules.lock().unwrap().values().map(|(_, state)| state.clone()).collect())
    }

    async fn prepare(&self, image: &str, _: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        if image.starts_with("bad") {
            return Err(RuntimeError::ImageNotAvailable { image: image.to_owned(), advice: "build it".to_owned() });
        }
        Ok(())
    }

    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError> {
        self.prepare(&specification.image, None).await?;
        self.note("create", &specification.name);
        let state = ModuleState {
            name: specification.name.clone(),
            image: specification.image.clone(),
            image_description: None,
            image_hash: Some("sha256:1".to_owned()),
            status: ModuleStatus::Stopped,
            description: String::new(),
            exit_code: None,
            started_at: None,
            exited_at: None,
            pid: None,
            limits: None,
            limits_unenforced: None,
        };
        self.modules.lock().unwrap().insert(specification.name.clone(), (specification, state));
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        self.note("start", name);
        let now = self.clock.timestamp();
        self.change(name, |state| (state.status, state.started_at) = (ModuleStatus::Running, Some(now)))
    }

    async fn stop(&self, name: &str, _timeout: Duration) -> Result<(), RuntimeError> {
        self.note("stop", name);
        self.change(name, |state| state.status = ModuleStatus::Stopped)
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        self.note("remove", name);
        self.modules.lock().unwrap().remove(name);
        Ok(())
    }

    async fn logs(&self, name: &str, _query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        Err(RuntimeError::NotFound(name.to_owned()))
    }

    fn exits(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}

/// Gives every module an identity but `nobody`.
#[derive(Default)]
struct Identities(Mutex<Vec<String>>);

#[async_trait]
impl IdentityProvider for Identities {
    async fn ensure(&self, module_id: &str) -> Result<ModuleIdentity, IdentityError> {
        if module_id == "nobody" {
            return Err(IdentityError("the registry is not there".to_owned()));
        }
        self.0.lock().unwrap().push(format!("ensure {module_id}"));
        Ok(ModuleIdentity { generation_id: "g7".to_owned(), workload_uri: format!("unix:///run/{module_id}.sock") })
    }

    async fn remove(&self, module_id: &str) -> Result<(), IdentityError> {
        self.0.lock().unwrap().push(format!("remove {module_id}"));
        Ok(())
    }
}

struct Running {
    runtime: Arc<Remembering>,
    identities: Arc<Identities>,
    metrics: Arc<AgentMetrics>,
    desired: watch::Sender<Option<Value>>,
    reports: mpsc::Receiver<Value>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn start(reported: Value) -> Running {
    start_on(None, reported)
}

fn start_on(profile: Option<Profile>, reported: Value) -> Running {
    let clock = HandClock::begin_at(1_800_000_000_000);
    let runtime = Arc::new(Remembering {
        modules: Mutex::default(),
        commands: Mutex::default(),
        exits: watch::Sender::new(0),
        clock: Arc::clone(&clock),
    });
    let identities = Arc::new(Identities::default());
    let facts = AgentFacts {
        version: "1.0".into(),
        build: String::new(),
        commit: String::new(),
        operating_system: "linux".into(),
        architecture: "x86_64".into(),
        runtime_version: String::new(),
    };
    let metrics = AgentMetrics::new("hub.local", "edge1", &facts, Arc::clone(&clock) as _);
    let metrics = Arc::new(metrics);
    let options = AgentOptions {
        runtime: Arc::clone(&runtime) as Arc<dyn ModuleRuntime>,
        identities: Arc::clone(&identities) as Arc<dyn IdentityProvider>,
        environment: DeviceEnvironment {
            hub_host: "hub.local".into(),
            device_id: "edge1".into(),
            device_host: "127.0.1.1".into(),
            parent_host: None,
            api_version: "2022-08-03".into(),
            auth_scheme: "sasToken".into(),
            log_level: "Information".into(),
            upstream_protocol: None,
            management_uri: String::new(),
            network_id: "azure-iot-edge".into(),
        },
        facts,
        profile,
        rules: RestartRules::default(),
        period: Duration::from_secs(5),
        stop_timeout: Duration::from_secs(10),
        edge_hub: Box::new(|_| {}),
        metrics: Arc::clone(&metrics),
        clock,
    };
    let (desired, wanted) = watch::channel(None);
    let (patches, reports) = mpsc::channel(64);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(Agent::new(options, reported).run(wanted, patches, shutdown.clone()));
    Running { runtime, identities, metrics, desired, reports, shutdown, task }
}

fn module(image: &str) -> Value {
    json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": image}})
}

fn desired(version: u64, modules: &Value) -> Value {
    json!({
        "schemaVersion": "1.1", "$version": version, "modules": modules,
        "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
        "systemModules": {
            "edgeAgent": {"type": "docker", "settings": {"image": "agent:1"}},
            "edgeHub": {"type": "docker", "status": "running", "settings": {"image": "hub:1"}},
        },
    })
}

impl Running {
    /// What is counted under a name for module `a`, or for all.
    fn counted(&self, name: &str) -> Option<f64> {
        let family = self.metrics.families(Vec::new()).into_iter().find(|family| family.name == name)?;
        let is_of_a = |module: Option<&String>| module.is_none_or(|module| module == "a");
        family.samples.iter().find(|sample| is_of_a(sample.labels.get("module_name")))?.value
    }

    async fn deploy(&mut self, version: u64, modules: &Value) -> Value {
        self.desired.send(Some(desired(version, modules))).unwrap();
        self.reports.recv().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_machine_cannot_give_is_not_deployed_and_what_runs_goes_on() {
    let mut agent = start_on(catalog::find("raspberry-pi-4").cloned(), Value::Null);
    agent.deploy(1, &json!({"a": module("a")})).await;
    agent.runtime.take_commands();
    let mut greedy = module("b");
    greedy["settings"]["createOptions"] = json!(r#"{"HostConfig": {"Memory": 5368709120}}"#);
    let report = agent.deploy(2, &json!({"b": greedy})).await;
    let why = "raspberry-pi-4 has 4 GiB of memory, and the modules may use 5 GiB: b 5 GiB";
    assert_eq!(report["lastDesiredStatus"], json!({"code": 500, "description": why}));
    assert_eq!(report["lastDesiredVersion"], 2);
    assert!(agent.runtime.take_commands().is_empty());
    let report = agent.deploy(3, &json!({"a": module("a")})).await;
    assert_eq!(report["lastDesiredStatus"]["code"], 200);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_runs_and_is_reported_once() {
    let mut agent = start(json!({"$version": 4, "modules": {"gone": {"status": "running"}}}));
    let report = agent.deploy(3, &json!({"b": module("b"), "a": module("a")})).await;
    assert_eq!(agent.runtime.take_commands(), ["create a", "start a", "create b", "start b"]);
    assert_eq!(report["lastDesiredVersion"], 3);
    assert_eq!(report["lastDesiredStatus"], json!({"code": 200}));
    assert_eq!(report["modules"]["gone"], Value::Null);
    assert_eq!(report.get("$version"), None);
    let a = &report["modules"]["a"];
    assert_eq!((&a["runtimeStatus"], &a["restartPolicy"]), (&json!("running"), &json!("always")));
    assert_eq!(a["settings"], json!({"image": "a:latest", "imageHash": "sha256:1", "createOptions": "{}"}));
    let system = &report["systemModules"];
    assert_eq!(system["edgeAgent"]["settings"]["image"], "agent:1");
    assert_eq!(system["edgeAgent"].get("restartPolicy"), None);
    assert_eq!(
        (&system["edgeHub"]["runtimeStatus"], &system["edgeHub"]["status"]),
        (&json!("running"), &json!("running"))
    );
    let env = agent.runtime.modules.lock().unwrap()["a"].0.env.clone();
    assert_eq!(env["IOTEDGE_MODULEGENERATIONID"], "g7");
    assert_eq!(env["IOTEDGE_WORKLOADURI"], "unix:///run/a.sock");
    assert_eq!(env["IOTEDGE_GATEWAYHOSTNAME"], "127.0.1.1");
    // Nothing changes for a minute, so nothing is done or told.
    let silence = tokio::time::timeout(Duration::from_mins(1), agent.reports.recv()).await;
    assert!(silence.is_err() && agent.runtime.take_commands().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_module_that_ends_waits_and_is_restarted() {
    let mut agent = start(Value::Null);
    agent.deploy(1, &json!({"a": module("a")})).await;
    agent.runtime.take_commands();
    let ended = Instant::now();
    agent.runtime.ended("a", ModuleStatus::Failed);
    let report = agent.reports.recv().await.unwrap();
    assert_eq!((&report["modules"]["a"]["runtimeStatus"], ended.elapsed().as_secs()), (&json!("backoff"), 0));
    let report = agent.reports.recv().await.unwrap();
    assert_eq!(report["modules"]["a"]["runtimeStatus"], "running");
    assert_eq!(report["modules"]["a"]["restartCount"], 1);
    assert_eq!(agent.runtime.take_commands(), ["stop a", "start a"]);
    assert!((10..=15).contains(&ended.elapsed().as_secs()), "{:?}", ended.elapsed());
    assert_eq!(agent.counted("edgeAgent_module_start_total"), Some(2.0));
    assert_eq!(agent.counted("edgeAgent_module_stop_total"), Some(1.0));
    // After ten minutes of running the restart is forgotten.
    let report = agent.reports.recv().await.unwrap();
    assert_eq!(report["modules"]["a"]["restartCount"], 0);
    assert!(ended.elapsed() > Duration::from_mins(10));
    let expected = agent.counted("edgeAgent_total_time_expected_running_seconds").unwrap();
    let running = agent.counted("edgeAgent_total_time_running_correctly_seconds").unwrap();
    assert!(expected >= 600.0 && (10.0..=15.0).contains(&(expected - running)), "{running} of {expected}");
}

#[tokio::test(start_paused = true)]
async fn changes_are_carried_out_and_nothing_else() {
    let mut agent = start(Value::Null);
    agent.deploy(1, &json!({"a": module("a"), "b": module("b"), "c": module("c")})).await;
    agent.runtime.take_commands();
    let mut stopped = module("b");
    stopped["status"] = json!("stopped");
    let report = agent.deploy(2, &json!({"a": module("a:2"), "b": stopped})).await;
    assert_eq!(agent.runtime.take_commands(), ["stop c", "remove c", "create a", "start a", "stop b"]);
    assert_eq!(report["modules"]["c"], Value::Null);
    assert_eq!(report["modules"]["b"], json!({"runtimeStatus": "stopped", "status": "stopped"}));
    assert_eq!(agent.identities.0.lock().unwrap().last().unwrap(), "remove c");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_changes_nothing() {
    let mut agent = start(Value::Null);
    agent.deploy(1, &json!({"a": module("a")})).await;
    agent.runtime.take_commands();
    let mut schema = desired(3, &json!({}));
    schema["schemaVersion"] = json!("2.0");
    for (code, document) in
        [(400, desired(2, &json!({"a": module("a:b:c")}))), (412, schema), (417, json!({"$version": 4}))]
    {
        agent.desired.send(Some(document.clone())).unwrap();
        let report = agent.reports.recv().await.unwrap();
        assert_eq!(report["lastDesiredStatus"]["code"], code);
        assert_eq!(report["lastDesiredVersion"], document["$version"]);
        assert_eq!(agent.runtime.take_commands(), Vec::<String>::new());
    }
    let report = agent.deploy(5, &json!({"a": module("a")})).await;
    assert_eq!(report["lastDesiredStatus"], json!({"code": 200, "description": null}));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_and_does_not_hold_up_the_rest() {
    let mut agent = start(Value::Null);
    let report = agent.deploy(1, &json!({"a": module("bad"), "b": module("b"), "nobody": module("n")})).await;
    assert_eq!(agent.runtime.take_commands(), ["create b", "start b"]);
    assert_eq!(report["lastDesiredStatus"]["code"], 500);
    let description = report["lastDesiredStatus"]["description"].as_str().unwrap();
    assert!(description.contains("bad:latest") && description.contains("\"nobody\" has no identity"), "{description}");
}

#[tokio::test(start_paused = true)]
async fn the_end_stops_all_modules() {
    let mut agent = start(Value::Null);
    agent.deploy(1, &json!({"a": module("a")})).await;
    agent.runtime.take_commands();
    agent.shutdown.cancel();
    let report = agent.reports.recv().await.unwrap();
    assert_eq!(report["lastDesiredStatus"], json!({"code": 406, "description": "Agent is not running"}));
    assert_eq!(report["modules"]["a"]["runtimeStatus"], "unknown");
    assert_eq!(agent.runtime.take_commands(), ["stop a"]);
    agent.task.await.unwrap();
}
