//! Reported properties of `$edgeAgent`.

use std::collections::BTreeMap;

use edgectl_schemas::manifest::create_options;
use edgectl_schemas::twin;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::agent::deployment::{EDGE_AGENT, EDGE_HUB, LAST, ModuleSpecification, RuntimeSettings};
use crate::runtime::module_runtime::ModuleStatus;

/// The time of what never happened.
const NEVER: &str = "0001-01-01T00:00:00";

/// The outcome of a deployment, in the codes of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// 200 done, 400 unreadable, 406 not running, 412 unknown schema version, 417 empty, 500 failed.
    pub code: u16,
    /// What went wrong; empty if nothing did.
    pub description: String,
}

impl DeploymentStatus {
    /// All is as desired.
    pub fn successful() -> Self {
        Self { code: 200, description: String::new() }
    }

    /// The agent was shut down in good order.
    pub fn not_running() -> Self {
        Self { code: 406, description: "Agent is not running".to_owned() }
    }
}

/// What the agent is and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// The agent's version.
    pub version: String,
    /// The build of that version.
    pub build: String,
    /// The source it was built from.
    pub commit: String,
    /// As in `linux`.
    pub operating_system: String,
    /// As in `x86_64`.
    pub architecture: String,
    /// The version of what runs the modules.
    pub runtime_version: String,
}

/// One module as the hub is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleReport {
    /// What was deployed.
    pub specification: ModuleSpecification,
    /// What it is doing.
    pub status: ModuleStatus,
    /// The same for people.
    pub description: String,
    /// The code with which it last ended.
    pub exit_code: i32,
    /// When it was last started.
    pub last_start: Option<Timestamp>,
    /// When it last ended.
    pub last_exit: Option<Timestamp>,
    /// How often the agent started it again.
    pub restart_count: u32,
    /// When the agent last did.
    pub last_restart: Option<Timestamp>,
    /// The digest of what is run.
    pub image_hash: Option<String>,
}

/// All that the hub is told.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The agent.
    pub facts: &'a AgentFacts,
    /// The `$version` of the desired properties that were last worked on.
    pub desired_version: i64,
    /// What came of them.
    pub status: &'a DeploymentStatus,
    /// The engine's settings of the last good deployment.
    pub runtime: Option<&'a RuntimeSettings>,
    /// Every module that is there, system modules included.
    pub modules: &'a BTreeMap<String, ModuleReport>,
}

/// The whole of the reported properties.
pub fn reported(report: &Report<'_>) -> Value {
    let facts = report.facts;
    let mut system = Map::new();
    let mut modules = Map::new();
    for (name, module) in report.modules {
        let section = if matches!(name.as_str(), EDGE_AGENT | EDGE_HUB) { &mut system } else { &mut modules };
        section.insert(name.clone(), reported_module(module));
    }
    let mut status = json!({"code": report.status.code});
    if !report.status.description.is_empty() {
        status["description"] = json!(report.status.description);
    }
    let platform = json!({
        "os": facts.operating_system, "architecture": facts.architecture, "version": facts.runtime_version
    });
    json!({
        "schemaVersion": "1.0",
        "version": {"version": facts.version, "build": facts.build, "commit": facts.commit},
        "lastDesiredVersion": report.desired_version,
        "lastDesiredStatus": status,
        "runtime": {"type": "docker", "settings": reported_settings(report.runtime), "platform": platform},
        "systemModules": system,
        "modules": modules,
    })
}

fn reported_settings(runtime: Option<&RuntimeSettings>) -> Value {
    let Some(runtime) = runtime else { return json!({}) };
    let mut settings = Map::new();
    if let Some(version) = &runtime.min_docker_version {
        settings.insert("minDockerVersion".into(), json!(version));
    }
    if let Some(options) = &runtime.logging_options {
        settings.insert("loggingOptions".into(), json!(options));
    }
    let credentials = runtime.registry_credentials.iter().map(|(name, credential)| {
        let credential = json!({
            "address": credential.address, "username": credential.username, "password": credential.password
        });
        (name.clone(), credential)
    });
    settings.insert("registryCredentials".into(), Value::Object(credentials.collect()));
    Value::Object(settings)
}

fn reported_module(module: &ModuleReport) -> Value {
    let specification = &module.specification;
    let mut entry = json!({
        "exitCode": module.exit_code,
        "statusDescription": module.description,
        "lastStartTimeUtc": time(module.last_start),
        "lastExitTimeUtc": time(module.last_exit),
        "restartCount": module.restart_count,
        "lastRestartTimeUtc": time(module.last_restart),
        "runtimeStatus": module.status.as_str(),
        "imagePullPolicy": specification.image_pull_policy.as_str(),
        "type": "docker",
        "settings": reported_image(module),
        "env": specification.env.iter()
            .map(|(name, value)| (name.clone(), json!({"value": value})))
            .collect::<Map<_, _>>(),
    });
    if !specification.version.is_empty() {
        entry["version"] = json!(specification.version);
    }
    if specification.name != EDGE_AGENT {
        entry["status"] = json!(specification.status.as_str());
        entry["restartPolicy"] = json!(specification.restart_policy.as_str());
        if specification.startup_order != LAST {
            entry["startupOrder"] = json!(specification.startup_order);
        }
    }
    entry
}

fn reported_image(module: &ModuleReport) -> Value {
    let settings = &module.specification.settings;
    let mut entry = json!({"image": settings.image, "imageHash": module.image_hash.clone().unwrap_or_default()});
    if let Some(digest) = &settings.digest {
        entry["digest"] = json!(digest);
    }
    for (key, chunk) in create_options::chunks(&settings.create_options) {
        entry[key] = json!(chunk);
    }
    entry
}

fn time(at: Option<Timestamp>) -> Value {
    at.map_or_else(|| json!(NEVER), |at| json!(at.to_string()))
}

/// The smallest patch that makes `new` of `old`: changed values, and null for what is gone. None if nothing changed.
pub fn difference(old: &Value, new: &Value) -> Option<Value> {
    (old != new).then(|| twin::diff(old, new))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merge(target: &mut Value, patch: &Value) {
        let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
            *target = patch.clone();
            return;
        };
        for (key, value) in patch {
            match value {
                Value::Null => {
                    target.remove(key);
                }
                Value::Object(_) if target.get(key).is_some_and(Value::is_object) => {
                    merge(&mut target[key], value);
                }
                _ => {
                    target.insert(key.clone(), value.clone());
                }
            }
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![(0..3).prop_map(|number| json!(number)), "[ab]".prop_map(|text| json!(text))];
        let map = |inner| prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map));
        let tree = leaf.prop_recursive(3, 24, 4, move |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map))
        });
        map(tree.boxed())
    }

    proptest! {
        #[test]
        fn a_difference_makes_the_new_of_the_old(old in document(), new in document()) {
            let mut merged = old.clone();
            if let Some(patch) = difference(&old, &new) {
                merge(&mut merged, &patch);
            }
            prop_assert_eq!(&merged, &new);
            prop_assert_eq!(difference(&new, &merged), None);
        }
    }
}
