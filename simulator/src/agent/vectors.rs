//! The behaviour vectors for the pure part of the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use edgectl_schemas::manifest::{create_options, image_reference};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::agent::deployment::{self, DeploymentError, ModuleSpecification};
use crate::agent::diff::diff;
use crate::agent::environment::{
    DeviceEnvironment, ModuleEnvironment, UpstreamProtocol, module_environment, module_id,
};
use crate::agent::methods::log_line;
use crate::agent::methods::log_request::LogRequest;
use crate::agent::plan::{Command, CurrentModule, Situation, UpdateMode, plan};
use crate::agent::restart::RestartRules;
use crate::agent::runner::RunHistory;
use crate::provisioning::{Loss, Protocol, is_asked_anew};
use crate::runtime::module_runtime::ModuleStatus;

fn file(name: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name);
    if !path.parent().unwrap().exists() {
        println!("passed over: no behaviour vectors");
        return None;
    }
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// Runs `check` on every vector and returns how many were checked, by operation.
fn each(name: &str, check: impl Fn(&Value) -> bool) -> BTreeMap<String, usize> {
    let mut checked = BTreeMap::new();
    let Some(document) = file(name) else { return checked };
    for vector in document["vectors"].as_array().unwrap() {
        if check(vector) {
            *checked.entry(vector["op"].as_str().unwrap_or("plan").to_owned()).or_default() += 1;
        }
    }
    println!("{name}: {checked:?}");
    checked
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A whole set of desired properties around some modules.
fn desired_with(modules: &Value) -> Value {
    json!({
        "schemaVersion": "1.1", "runtime": {"type": "docker"}, "modules": modules,
        "systemModules": {"edgeAgent": {"type": "docker", "settings": {"image": "agent"}}},
    })
}

/// The vectors have a type of module that only the tests of the real agent know.
fn as_docker(value: &Value) -> Value {
    serde_json::from_str(&value.to_string().replace(r#":"test""#, r#":"docker""#)).unwrap()
}

fn parse_one(module: &Value) -> Result<ModuleSpecification, DeploymentError> {
    let mut deployment = deployment::parse(&desired_with(&json!({"it": as_docker(module)})))?;
    Ok(deployment.modules.remove("it").unwrap())
}

fn parse_settings(settings: &Value) -> Result<ModuleSpecification, DeploymentError> {
    parse_one(&json!({"type": "docker", "status": "running", "settings": settings}))
}

/// A module as `diff` and `plan` vectors write it.
fn flat_module(vector: &Value) -> ModuleSpecification {
    let mut module = vector.clone();
    module["settings"] = json!({"image": vector["image"]});
    let specification = parse_one(&module).unwrap();
    ModuleSpecification { name: text(&vector["name"]).to_owned(), ..specification }
}

fn flat_modules(list: &Value) -> BTreeMap<String, ModuleSpecification> {
    list.as_array().unwrap().iter().map(flat_module).map(|module| (module.name.clone(), module)).collect()
}

fn check_documents(vector: &Value) -> bool {
    let (input, expected) = (&vector["input"], &vector["expected"]);
    let ok = || expected["ok"].as_bool().unwrap();
    match text(&vector["op"]) {
        "normalize_image" => {
            assert_eq!(json!(image_reference::normalize(text(input)).ok()), expected["image"], "{vector}");
        }
        "registry_of_image" => assert_eq!(image_reference::registry(text(input)), text(expected), "{vector}"),
        "expand_upstream_image" => {
            let parent = input["env"]["IOTEDGE_GATEWAYHOSTNAME"].as_str();
            match image_reference::expand_upstream(text(&input["image"]), parent) {
                Ok(image) => assert_eq!(json!(image), expected["image"], "{vector}"),
                Err(_) => assert_eq!(expected["error"], true, "{vector}"),
            }
        }
        "parse_create_options" => {
            assert_eq!(json!(create_options::parse(text(input)).unwrap()), *expected, "{vector}");
        }
        "parse_docker_settings" => match parse_settings(input) {
            Ok(module) => {
                assert_eq!(module.settings.image, text(&expected["image"]), "{vector}");
                assert_eq!(json!(module.settings.create_options), expected["createOptions"], "{vector}");
            }
            Err(error) => {
                assert!(!ok(), "{vector}: {error}");
                assert!(error.to_string().contains(text(&expected["message"])), "{vector}: {error}");
            }
        },
        "serialize_docker_settings" => {
            let chunks = create_options::chunks(input["createOptions"].as_object().unwrap());
            let mut settings: Map<String, Value> = chunks.into_iter().map(|(key, text)| (key, json!(text))).collect();
            settings.insert("image".into(), input["image"].clone());
            assert_eq!(Value::Object(settings), *expected, "{vector}");
        }
        "settings_equal" => {
            let equal = parse_settings(&input[0]).unwrap() == parse_settings(&input[1]).unwrap();
            assert_eq!(json!(equal), *expected, "{vector}");
        }
        "parse_module" => assert_eq!(parse_one(input).is_ok(), ok(), "{vector}"),
        "parse_module_set" => {
            let modules = input.get("Modules").or(input.get("modules")).unwrap();
            assert_eq!(deployment::parse(&desired_with(&as_docker(modules))).is_ok(), ok(), "{vector}");
        }
        "agent_schema_version" => {
            let mut desired = desired_with(&json!({}));
            desired["schemaVersion"] = input["schemaVersion"].clone();
            match deployment::parse(&desired) {
                Ok(_) => assert!(ok(), "{vector}"),
                Err(error) => assert!(!ok() && error.code() == 412, "{vector}: {error}"),
            }
        }
        _ => return false,
    }
    true
}

fn check_decisions(vector: &Value) -> bool {
    let (input, expected) = (&vector["input"], &vector["expected"]);
    match text(&vector["op"]) {
        "diff" => {
            let (desired, current) = (flat_modules(&input["desired"]), flat_modules(&input["current"]));
            let diff = diff(&desired, current.iter().map(|(name, module)| (name.as_str(), module)));
            let diff = json!({
                "added": diff.added, "removed": diff.removed, "updated": diff.updated,
                "desiredStatusUpdated": diff.desired_status_updated,
            });
            assert_eq!(diff, *expected, "{vector}");
        }
        "module_env" => {
            let env = check_env(input);
            assert_eq!(json!(env), expected["env"], "{vector}");
        }
        "upstream_protocol" => {
            let protocol = UpstreamProtocol::parse(text(input)).map(UpstreamProtocol::as_str);
            assert_eq!(json!(protocol), *expected, "{vector}");
        }
        "reprovision_on_disconnect" => {
            let protocol = if text(&input["protocol"]).starts_with("Amqp") { Protocol::Amqp } else { Protocol::Mqtt };
            let loss = match text(&input["reason"]) {
                "Device_Disabled" => Loss::DeviceDisabled,
                "Bad_Credential" => Loss::BadCredential,
                _ => Loss::CommunicationError,
            };
            assert_eq!(json!(is_asked_anew(protocol, loss)), *expected, "{vector}");
        }
        "plan_runner" => check_runner(vector),
        "parse_log_line" => {
            let line = log_line::parse(text(input));
            let line = json!({ "level": line.level, "timestamp": line.timestamp, "text": line.text });
            assert_eq!(line, *expected, "{vector}");
        }
        "log_match_ids" => {
            let selected = select(&json!([input["id"]]), &input["modules"]);
            let names: Vec<String> = selected.into_iter().map(|(name, _)| name).collect();
            assert_eq!(json!(names), *expected, "{vector}");
        }
        "log_select_items" => {
            let selected: BTreeMap<String, usize> = select(&input["itemIds"], &input["modules"]).into_iter().collect();
            assert_eq!(json!(selected), *expected, "{vector}");
        }
        _ => return false,
    }
    true
}

/// The modules that items with these identifiers ask for, each with the number of its item.
fn select(ids: &Value, modules: &Value) -> Vec<(String, usize)> {
    let ids = ids.as_array().unwrap();
    let items: Vec<Value> =
        ids.iter().enumerate().map(|(number, id)| json!({ "id": id, "filter": { "tail": number } })).collect();
    let request = LogRequest::read(&json!({ "items": items }), Timestamp::UNIX_EPOCH).unwrap();
    let modules = modules.as_array().unwrap().iter().map(|module| text(module).to_owned());
    request.select(modules).into_iter().map(|(name, item)| (name, item.tail.unwrap())).collect()
}

fn check_env(input: &Value) -> BTreeMap<String, String> {
    let owned = |key: &str| text(&input[key]).to_owned();
    let device = DeviceEnvironment {
        hub_host: owned("iotHubHostname"),
        device_id: owned("deviceId"),
        device_host: owned("edgeDeviceHostname"),
        parent_host: input["parentHostname"].as_str().map(str::to_owned),
        api_version: owned("apiVersion"),
        auth_scheme: owned("authScheme"),
        log_level: "Information".into(),
        upstream_protocol: UpstreamProtocol::parse(text(&input["upstreamProtocol"])),
        management_uri: owned("managementUri"),
        network_id: owned("networkId"),
    };
    assert_eq!(module_id(text(&input["module"])), text(&input["moduleId"]));
    let module = ModuleEnvironment {
        name: text(&input["module"]),
        generation_id: text(&input["generationId"]),
        workload_uri: text(&input["workloadUri"]),
        env: &serde_json::from_value(input["env"].clone()).unwrap(),
        create_options: &Map::new(),
    };
    module_environment(&device, &module)
}

fn check_runner(vector: &Value) {
    let input = &vector["input"];
    let unit = Duration::from_secs(input["coolOffUnitSecs"].as_u64().unwrap());
    let mut history = RunHistory::new(unit, input["maxRunCount"].as_u64().unwrap() as u32);
    let step = Duration::from_secs(input["clockStepPerReadSecs"].as_u64().unwrap());
    let mut now = Timestamp::UNIX_EPOCH;
    let mut executions: BTreeMap<&str, u32> = BTreeMap::new();
    let mut errors = Vec::new();
    for deployment in input["runs"].as_array().unwrap() {
        history.begin(deployment.as_i64().unwrap());
        let mut failed = false;
        for command in input["commands"].as_array().unwrap() {
            let fails = input["failing"].as_array().unwrap().contains(command);
            let name = text(command);
            let command = Command::Start(name.to_owned());
            now += step;
            if history.may_run(&command, now) {
                *executions.entry(name).or_default() += 1;
                failed |= fails;
                history.record(&command, fails.then(String::new), now);
            }
        }
        errors.push(failed);
    }
    assert_eq!(json!(executions), vector["expected"]["executions"], "{vector}");
    assert_eq!(json!(errors), vector["expected"]["runErrors"], "{vector}");
}

fn ago(now: Timestamp, seconds: &Value) -> Option<Timestamp> {
    seconds.as_u64().map(|seconds| now - Duration::from_secs(seconds))
}

fn rules(document: &Value) -> RestartRules {
    RestartRules {
        max_restart_count: document["maxRestartCount"].as_u64().unwrap() as u32,
        cool_off_unit: Duration::from_secs(document["coolOffUnitSecs"].as_u64().unwrap()),
        ..RestartRules::default()
    }
}

/// Commands that act on modules, as the vectors write them.
fn recorded(commands: &[Command]) -> Vec<Value> {
    let record = |command: &Command| match command {
        Command::PrepareUpdate(name) => Some(json!(["prepareUpdate", name])),
        Command::Create(name) => Some(json!(["create", name])),
        Command::Update(name) => Some(json!(["update", name])),
        Command::UpdateEdgeAgent => Some(json!(["updateEdgeAgent", "edgeAgent"])),
        Command::Start(name) => Some(json!(["start", name])),
        Command::Stop(name) => Some(json!(["stop", name])),
        Command::Remove(name) => Some(json!(["remove", name])),
        Command::RecordRestart(_) | Command::ForgetRestarts(_) => None,
    };
    commands.iter().filter_map(record).collect()
}

#[test]
fn agent_vectors() {
    if file("agent.json").is_none() {
        return;
    }
    assert!(each("agent.json", check_documents).len() >= 9);
    assert!(each("agent.json", check_decisions).len() >= 7);
}

#[test]
fn restart_vectors() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    each("restart_policy.json", |vector| {
        let (rules, input) = (rules(vector), &vector["input"]);
        let status = || text(&input["status"]).parse::<ModuleStatus>().unwrap();
        let count = input["restartCount"].as_u64().unwrap_or_default() as u32;
        let policy = || {
            let settings = json!({"image": "a"});
            let policy = &input["restartPolicy"];
            let module = json!({"type": "docker", "status": "running", "restartPolicy": policy, "settings": settings});
            parse_one(&module).unwrap().restart_policy
        };
        let actual = match text(&vector["op"]) {
            "compute_status" => json!(rules.effective_status(status(), policy(), count).as_str()),
            "should_restart" => {
                json!(rules.should_restart(status(), policy(), ago(now, &input["exitedSecsAgo"]), count, now))
            }
            "cool_off" => json!(rules.cool_off(input.as_u64().unwrap() as u32).as_secs()),
            _ => return false,
        };
        assert_eq!(actual, vector["expected"], "{vector}");
        true
    });
}

#[test]
fn plan_vectors() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let Some(document) = file("plan.json") else { return };
    let rules = rules(&document);
    each("plan.json", |vector| {
        let current_module = |vector: &Value| CurrentModule {
            specification: flat_module(vector),
            status: text(&vector["runtimeStatus"]).parse().unwrap(),
            last_start: ago(now, &vector["startedSecsAgo"]),
            last_exit: ago(now, &vector["exitedSecsAgo"]),
            restart_count: vector["restartCount"].as_u64().unwrap() as u32,
        };
        let current = vector["current"].as_array().unwrap().iter().map(current_module);
        let situation = Situation {
            desired: &flat_modules(&vector["desired"]),
            current: &current.map(|module| (module.specification.name.clone(), module)).collect(),
            without_identity: &BTreeSet::new(),
            rules: &rules,
            mode: UpdateMode::NonBlocking,
            now,
        };
        let commands = plan(&situation);
        if let Some(expected) = vector["commands"].as_array() {
            assert_eq!(recorded(&commands), *expected, "{vector}");
        }
        let restarts = commands.iter().any(|command| matches!(command, Command::RecordRestart(_)));
        if let Some(expected) = vector["restart"].as_bool() {
            assert_eq!(restarts, expected, "{vector}");
        }
        if let Some(kept) = vector["statsInStore"].as_bool() {
            let forgets = commands.iter().any(|command| matches!(command, Command::ForgetRestarts(_)));
            assert!(!(forgets && kept), "{vector}");
        }
        true
    });
}

#[test]
fn plan_order_vectors() {
    each("plan_order.json", |vector| {
        let deployment = deployment::parse(&vector["deployment"]).unwrap();
        let mode = UpdateMode::of(&deployment.edge_agent);
        let mut desired = deployment.modules;
        for module in [Some(deployment.edge_agent), deployment.edge_hub].into_iter().flatten() {
            desired.insert(module.name.clone(), module);
        }
        let current_module = |(name, vector): (&String, &Value)| CurrentModule {
            specification: ModuleSpecification { name: name.clone(), ..parse_one(vector).unwrap() },
            status: text(&vector["runtimeStatus"]).parse().unwrap(),
            last_start: None,
            last_exit: None,
            restart_count: 0,
        };
        let current = vector["current"]["modules"].as_object().unwrap().iter().map(current_module);
        let situation = Situation {
            desired: &desired,
            current: &current.map(|module| (module.specification.name.clone(), module)).collect(),
            without_identity: &BTreeSet::new(),
            rules: &RestartRules::default(),
            mode,
            now: Timestamp::UNIX_EPOCH,
        };
        let expected = vector["expected"]["moduleCommands"].as_array().unwrap().iter();
        let expected: Vec<Value> = expected
            .map(|command| {
                let name = text(&command["command"]).strip_prefix("Test").unwrap();
                json!([name[..1].to_lowercase() + &name[1..], command["moduleName"]])
            })
            .collect();
        assert_eq!(recorded(&plan(&situation)), expected, "{}", vector["id"]);
        true
    });
}
