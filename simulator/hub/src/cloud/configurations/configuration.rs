//! What a configuration is, and what may be in one.

use std::collections::BTreeMap;

use edgectl_schemas::ids::ModuleId;
use edgectl_schemas::manifest::layers::Deployment;
use edgectl_schemas::query::parser::statement;
use edgectl_schemas::query::statement::Collection;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cloud::target::{Target, target};

/// Most characters of an identifier.
const MAX_ID_CHARACTERS: usize = 128;
/// Most queries for metrics.
const MAX_METRICS: usize = 20;

/// A configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Its name: lower-case letters, digits and `-+%_*!'`.
    pub id: String,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// `deviceContent`, `modulesContent` or `moduleContent`.
    pub content: Map<String, Value>,
    /// Which devices it is for.
    pub target_condition: String,
    /// The higher one wins.
    pub priority: i64,
    /// Queries whose results are counted, by name.
    pub metrics: BTreeMap<String, String>,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last changed.
    pub updated_ms: u64,
    /// Counts changes.
    pub etag: u64,
}

/// Why a configuration is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfiguration(pub(super) String);

impl Configuration {
    /// Whether all is as it may be.
    pub fn check(&self) -> Result<(), InvalidConfiguration> {
        let invalid = |text: String| Err(InvalidConfiguration(text));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+%_*!'".contains(c);
        let length = self.id.chars().count();
        if length == 0 || length > MAX_ID_CHARACTERS || !self.id.chars().all(fits) {
            return invalid(format!(
                "{:?} is no configuration's identifier: 1 to {MAX_ID_CHARACTERS} of lower-case letters, digits and -+%_*!'",
                self.id
            ));
        }
        if self.priority < 0 {
            return invalid("the priority is less than 0".to_owned());
        }
        if self.metrics.len() > MAX_METRICS {
            return invalid(format!("{} metrics, the most is {MAX_METRICS}", self.metrics.len()));
        }
        for (name, query) in &self.metrics {
            if let Err(error) = statement(query) {
                return invalid(format!("metric {name:?} is wrong at character {}: {error}", error.column(query)));
            }
        }
        let target = target(&self.target_condition).map_err(|error| InvalidConfiguration(error.to_string()))?;
        self.check_content(&target)
    }

    fn check_content(&self, target: &Target) -> Result<(), InvalidConfiguration> {
        let invalid = |text: String| Err(InvalidConfiguration(text));
        let kinds: Vec<&str> =
            self.content.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str()).collect();
        match kinds[..] {
            ["deviceContent"] if target.of == Collection::Devices => check_paths(&self.content["deviceContent"]),
            // One that is for nobody yet may be for modules.
            ["moduleContent"] if target.of == Collection::Modules || self.target_condition.trim().is_empty() => {
                check_paths(&self.content["moduleContent"])
            }
            ["modulesContent"] if target.of == Collection::Devices => self.check_modules(),
            ["deviceContent" | "modulesContent"] => {
                invalid("a target condition over modules needs moduleContent".to_owned())
            }
            ["moduleContent"] => {
                invalid("moduleContent needs a target condition that begins with FROM devices.modules WHERE".to_owned())
            }
            _ => invalid("the content has to have one of deviceContent, modulesContent and moduleContent".to_owned()),
        }
    }

    fn check_modules(&self) -> Result<(), InvalidConfiguration> {
        let Some(modules) = self.content["modulesContent"].as_object() else {
            return Err(InvalidConfiguration("modulesContent is not an object".to_owned()));
        };
        for (name, section) in modules {
            ModuleId::new(name).map_err(|error| InvalidConfiguration(format!("module {name:?}: {error}")))?;
            check_paths(section).map_err(|error| InvalidConfiguration(format!("module {name:?}: {error}")))?;
        }
        let whole = |name: &str| modules.get(name).is_some_and(|section| section.get("properties.desired").is_some());
        let is_layer = self.deployment().is_some_and(|deployment| deployment.is_layer());
        let is_base = whole("$edgeAgent") && whole("$edgeHub");
        if !(is_layer || is_base) {
            let needed = "a deployment that is no layer needs properties.desired of $edgeAgent and $edgeHub";
            return Err(InvalidConfiguration(needed.to_owned()));
        }
        Ok(())
    }

    /// What it brings to edge devices, if it does.
    pub fn deployment(&self) -> Option<Deployment> {
        Some(Deployment {
            name: self.id.clone(),
            priority: self.priority,
            target_condition: Some(self.target_condition.clone()),
            content: self.content.get("modulesContent")?.as_object()?.clone(),
        })
    }

    /// What it sets in twins, if it does: values by path, and whether these are twins of modules.
    pub fn paths(&self) -> Option<(&Map<String, Value>, bool)> {
        let of = |name: &str| self.content.get(name).and_then(Value::as_object);
        of("deviceContent").map(|paths| (paths, false)).or_else(|| of("moduleContent").map(|paths| (paths, true)))
    }
}

/// Desired properties, whole or below a path.
fn check_paths(section: &Value) -> Result<(), InvalidConfiguration> {
    let invalid = |text: String| Err(InvalidConfiguration(text));
    let Some(section) = section.as_object() else { return invalid("the content is not an object".to_owned()) };
    for (key, value) in section {
        match key.strip_prefix("properties.desired") {
            Some("") if value.is_object() => {}
            Some("") => return invalid("properties.desired is not an object".to_owned()),
            Some(rest) if rest.len() > 1 && rest.starts_with('.') => {}
            _ => return invalid(format!("{key:?} is no path of desired properties")),
        }
    }
    Ok(())
}
