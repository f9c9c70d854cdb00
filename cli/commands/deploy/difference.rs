//! `edgectl deploy --plan` for another hub and for configurations: what differs from what is there.

use std::collections::BTreeMap;

use edgectl_schemas::ids::{Identity, ModuleId};
use edgectl_simulator::agent::forecast::{Change, changes};
use edgectl_simulator::redact;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::place::Place;
use crate::commands::configuration;
use crate::commands::device::block_on;
use crate::commands::sim::plan::section;
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::manifest::Manifest;

/// What would be different.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    manifest: String,
    /// What it would be deployed to.
    to: String,
    has_changes: bool,
    /// Of a configuration: its target condition, priority and labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    configuration: Vec<Change>,
    /// Desired properties, by module.
    modules: BTreeMap<String, Vec<Change>>,
}

impl Report for Difference {
    fn text(&self, style: Style) -> String {
        if !self.has_changes {
            return format!("{} changes nothing of {}.\n", self.manifest, self.to);
        }
        let mut text = format!("{} would change {}:\n", self.manifest, self.to);
        text.push_str(&section("Configuration", &self.configuration, style));
        for (module, changes) in &self.modules {
            text.push_str(&section(&title(module), changes, style));
        }
        text
    }
}

fn title(module: &str) -> String {
    match module {
        "$edgeAgent" => "Edge agent".to_owned(),
        "$edgeHub" => "Edge hub".to_owned(),
        _ => format!("Twin of {module}"),
    }
}

/// Shows what a manifest would change of a device.
pub fn of_device(place: &Place, manifest: Manifest, detailed: bool, context: &Context) -> Result<(), CommandError> {
    let old = block_on(desired(place, &manifest.modules_content))??;
    let new = desired_of(&manifest.modules_content);
    show(manifest.name, place.device.to_string(), Vec::new(), &old, &new, detailed, context)
}

/// Shows what a manifest would change of a configuration.
pub fn of_configuration(
    service: &ServiceClient,
    options: &configuration::Options,
    manifest: Manifest,
    detailed: bool,
    context: &Context,
) -> Result<(), CommandError> {
    let new = options.document(&manifest.modules_content)?;
    let id = options.configuration.as_deref().unwrap_or_default();
    let old = block_on(service.find_configuration(id))??.unwrap_or_else(|| json!({}));
    let mut own = Vec::new();
    for name in ["targetCondition", "priority", "labels"] {
        own.extend(changes(name, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null)));
    }
    let content = |document: &Value| desired_of(document.pointer("/content/modulesContent").unwrap_or(&Value::Null));
    show(manifest.name, format!("configuration {id}"), own, &content(&old), &content(&new), detailed, context)
}

fn show(
    manifest: String,
    to: String,
    configuration: Vec<Change>,
    old: &BTreeMap<String, Value>,
    new: &BTreeMap<String, Value>,
    detailed: bool,
    context: &Context,
) -> Result<(), CommandError> {
    let empty = Value::Object(Map::new());
    let mut modules = BTreeMap::new();
    for name in old.keys().chain(new.keys()) {
        let of = |side: &BTreeMap<String, Value>| side.get(name).unwrap_or(&empty).clone();
        let found: Vec<Change> = changes("", &of(old), &of(new)).into_iter().map(without_secret).collect();
        if !found.is_empty() {
            modules.insert(name.clone(), found);
        }
    }
    let has_changes = !configuration.is_empty() || !modules.is_empty();
    context.printer.result(&Difference { manifest, to, has_changes, configuration, modules });
    if detailed && has_changes { Err(CommandError::shown(ErrorKind::Changes)) } else { Ok(()) }
}

/// That a secret changes is told, and not what it is. Environments and create options of modules may hold any.
fn without_secret(change: Change) -> Change {
    let name = change.property.rsplit('.').next().unwrap_or_default().to_owned();
    let is_private = change.property.split('.').any(is_private);
    let hide = |value: Option<Value>| {
        value.map(|value| match value {
            Value::String(text) if !is_private => redact::shown(&name, &text).into(),
            other => hidden(&other, is_private),
        })
    };
    Change { from: hide(change.from), to: hide(change.to), ..change }
}

/// A part of a module's settings that may hold secrets under any name.
fn is_private(name: &str) -> bool {
    name == "env" || name.starts_with("createOptions")
}

fn hidden(value: &Value, is_private: bool) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| {
                let shown = match value {
                    Value::String(text) if !is_private && !self::is_private(name) => redact::shown(name, text).into(),
                    value => hidden(value, is_private || self::is_private(name)),
                };
                (name.clone(), shown)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => items.iter().map(|item| hidden(item, is_private)).collect(),
        _ if is_private => redact::HIDDEN.into(),
        other => other.clone(),
    }
}

/// The desired properties in a deployment's content, by module. Those of a layer keep their paths.
fn desired_of(content: &Value) -> BTreeMap<String, Value> {
    let sections = content.as_object().into_iter().flatten();
    let desired = sections.map(|(name, section)| {
        let whole = section.get("properties.desired");
        (name.clone(), whole.unwrap_or(section).clone())
    });
    desired.collect()
}

/// The desired properties that a device's modules have: of those that the content names, and of those that its agent runs.
async fn desired(place: &Place, content: &Value) -> Result<BTreeMap<String, Value>, CommandError> {
    let agent = without_metadata(&place.agent().await?);
    let mut names: Vec<String> = content.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    names.extend(agent.get("modules").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()));
    names.sort();
    names.dedup();
    let mut found = BTreeMap::new();
    for name in names {
        let module = ModuleId::new(&name).map_err(|error| CommandError::usage(format!("module {name:?}: {error}")))?;
        let identity = Identity::module(place.device.clone(), module);
        if let Some(twin) = place.service.find_twin(&identity).await? {
            found.insert(name, without_metadata(&twin));
        }
    }
    Ok(found)
}

fn without_metadata(twin: &Value) -> Value {
    let desired = twin.pointer("/properties/desired").and_then(Value::as_object).into_iter().flatten();
    let own = desired.filter(|(name, _)| !name.starts_with('$'));
    Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let change = |property: &str, to: Value| {
            without_secret(Change { property: property.to_owned(), from: None, to: Some(to) }).to.unwrap_or_default()
        };
        let credentials = "runtime.settings.registryCredentials.one";
        assert_eq!(change(&format!("{credentials}.password"), json!("hunter2")), "***");
        assert_eq!(change(credentials, json!({ "password": "hunter2", "address": "a" }))["password"], "***");
        assert_eq!(change("modules.a.settings.image", json!("image:1")), "image:1");
        assert_eq!(change("modules.a.env.ANY.value", json!("x")), "***");
        let module = json!({ "env": { "ANY": { "value": "x" } }, "settings": { "image": "i", "createOptions": "{}" } });
        let shown =
            json!({ "env": { "ANY": { "value": "***" } }, "settings": { "image": "i", "createOptions": "***" } });
        assert_eq!(change("modules.a", module), shown);
    }
}
