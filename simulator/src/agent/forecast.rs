//! What the agent would do about a deployment that it does not have yet, and why. The plan is the agent's own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agent::deployment::{LAST, ModuleSpecification};
use crate::agent::plan::{Command, CurrentModule, Situation, plan};

/// What would be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Every module that is there or wanted, by name.
    pub modules: Vec<ModuleForecast>,
    /// What would be carried out, in this order.
    pub steps: Vec<Step>,
}

/// What would become of one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleForecast {
    /// Its name in the deployment.
    pub name: String,
    /// What would be done with it.
    pub action: Action,
    /// Its `startupOrder`; none where it goes last or goes away.
    pub startup_order: Option<u32>,
    /// What differs between what was deployed and what would be.
    pub changes: Vec<Change>,
}

/// What is done with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is not there yet.
    Create,
    /// It is replaced.
    Update,
    /// It is not wanted any more.
    Remove,
    /// It ended, and its wait is over.
    Restart,
    /// It does not run and should.
    Start,
    /// It runs and should not.
    Stop,
    /// Nothing.
    Unchanged,
}

/// One step of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `pull`, `create`, `update`, `start`, `stop` or `remove`.
    pub step: String,
    /// The module.
    pub module: String,
}

/// A property that differs. The values of environment and create options may be secrets and are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The property, its names joined with dots.
    pub property: String,
    /// What it was; none if there was nothing, or if it may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it would be; none if it would be gone, or if it may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Makes the plan and says what it means for each module.
pub fn forecast(situation: &Situation<'_>) -> Forecast {
    let commands = plan(situation);
    let names: BTreeSet<&String> = situation.desired.keys().chain(situation.current.keys()).collect();
    let modules = names.into_iter().map(|name| {
        let (desired, current) = (situation.desired.get(name), situation.current.get(name));
        ModuleForecast {
            name: name.clone(),
            action: action(name, &commands),
            startup_order: desired.map(|module| module.startup_order).filter(|order| *order != LAST),
            changes: desired
                .zip(current)
                .map(|(desired, current)| module_changes(current, desired))
                .unwrap_or_default(),
        }
    });
    Forecast { modules: modules.collect(), steps: commands.iter().filter_map(step).collect() }
}

/// The strongest command of a module names what happens to it.
fn action(name: &str, commands: &[Command]) -> Action {
    let of_module = || commands.iter().filter(|command| command.module() == Some(name));
    let strength = |command: &Command| match command {
        Command::Create(_) => Some((0, Action::Create)),
        Command::Update(_) => Some((1, Action::Update)),
        Command::Remove(_) => Some((2, Action::Remove)),
        Command::RecordRestart(_) => Some((3, Action::Restart)),
        Command::Start(_) => Some((4, Action::Start)),
        Command::Stop(_) => Some((5, Action::Stop)),
        Command::PrepareUpdate(_) | Command::UpdateEdgeAgent | Command::ForgetRestarts(_) => None,
    };
    of_module().filter_map(strength).min_by_key(|(rank, _)| *rank).map_or(Action::Unchanged, |(_, action)| action)
}

fn step(command: &Command) -> Option<Step> {
    let step = match command {
        Command::PrepareUpdate(_) => "pull",
        Command::Create(_) => "create",
        Command::Update(_) => "update",
        Command::Start(_) => "start",
        Command::Stop(_) => "stop",
        Command::Remove(_) => "remove",
        // Book-keeping that nobody sees, and the agent, which is part of the simulator.
        Command::UpdateEdgeAgent | Command::RecordRestart(_) | Command::ForgetRestarts(_) => return None,
    };
    command.module().map(|module| Step { step: step.to_owned(), module: module.to_owned() })
}

fn module_changes(current: &CurrentModule, desired: &ModuleSpecification) -> Vec<Change> {
    let current = &current.specification;
    let mut found = changes("", &plain(current), &plain(desired));
    found.extend(hidden(changes("env", &json!(current.env), &json!(desired.env))));
    let options = |module: &ModuleSpecification| Value::Object(module.settings.create_options.clone());
    found.extend(hidden(changes("createOptions", &options(current), &options(desired))));
    found
}

/// What may be shown of a module.
fn plain(module: &ModuleSpecification) -> Value {
    let mut shown = json!({
        "image": module.settings.image, "status": module.status.as_str(),
        "restartPolicy": module.restart_policy.as_str(), "imagePullPolicy": module.image_pull_policy.as_str(),
    });
    let order = (module.startup_order != LAST).then_some(module.startup_order);
    let optional: BTreeMap<&str, Option<Value>> = BTreeMap::from([
        ("version", (!module.version.is_empty()).then(|| json!(module.version))),
        ("digest", module.settings.digest.as_ref().map(|digest| json!(digest))),
        ("startupOrder", order.map(|order| json!(order))),
    ]);
    for (name, value) in optional {
        if let Some(value) = value {
            shown[name] = value;
        }
    }
    shown
}

fn hidden(changes: Vec<Change>) -> impl Iterator<Item = Change> {
    changes.into_iter().map(|change| Change { from: None, to: None, ..change })
}

/// The properties in which two documents differ, as deep as both are objects.
pub fn changes(path: &str, from: &Value, to: &Value) -> Vec<Change> {
    let (Value::Object(before), Value::Object(after)) = (from, to) else {
        let known = |value: &Value| (!value.is_null()).then(|| value.clone());
        let change = Change { property: path.to_owned(), from: known(from), to: known(to) };
        return if from == to { Vec::new() } else { vec![change] };
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |object: &serde_json::Map<String, Value>, name: &str| object.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .flat_map(|name| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            changes(&path, &of(before, name), &of(after, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_the_deepest_property() {
        let found = changes("", &json!({"a": {"b": 1, "c": 2}, "d": 3}), &json!({"a": {"b": 1, "c": 4}, "e": {}}));
        let found: Vec<_> = found.into_iter().map(|change| (change.property, change.from, change.to)).collect();
        let expected =
            [("a.c", Some(json!(2)), Some(json!(4))), ("d", Some(json!(3)), None), ("e", None, Some(json!({})))];
        assert_eq!(found, expected.map(|(name, from, to)| (name.to_owned(), from, to)));
    }
}
