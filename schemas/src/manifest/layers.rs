//! What a device gets when several deployments meet: one base, and layers over it in the order of their priorities.
//!
//! A layer puts values at paths: `properties.desired.modules.filter`. A higher layer replaces what is at its path, and
//! nothing is ever taken away.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Key of desired properties, and how paths below it begin.
const DESIRED: &str = "properties.desired";

/// A deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// The higher one wins.
    pub priority: i64,
    /// The devices it is for; none for all.
    pub target_condition: Option<String>,
    /// The content of its modules.
    pub content: Map<String, Value>,
}

/// What is not a deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no `modulesContent` in it")]
pub struct NoContent;

impl Deployment {
    /// Reads a manifest, or the export of a configuration with its priority and target condition.
    pub fn read(name: &str, document: &Value) -> Result<Self, NoContent> {
        let holder = document.get("content").unwrap_or(document);
        let content = holder.get("modulesContent").or_else(|| holder.get("moduleContent")).and_then(Value::as_object);
        Ok(Self {
            name: document.get("id").and_then(Value::as_str).unwrap_or(name).to_owned(),
            priority: document.get("priority").and_then(Value::as_i64).unwrap_or(0),
            target_condition: document.get("targetCondition").and_then(Value::as_str).map(str::to_owned),
            content: content.ok_or(NoContent)?.clone(),
        })
    }

    /// Whether it lies over others, and does not stand alone.
    pub fn is_layer(&self) -> bool {
        let is_path = |key: &String| key.strip_prefix(DESIRED).is_some_and(|rest| rest.starts_with('.'));
        let has_paths = self.content.values().filter_map(Value::as_object).any(|module| module.keys().any(is_path));
        let agent = self.content.get("$edgeAgent");
        let has_hub = self.content.contains_key("$edgeHub");
        agent.is_none_or(|agent| agent.get(DESIRED).is_none()) && (has_paths || (agent.is_none() && !has_hub))
    }
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// The content of all modules, whole.
    pub content: Map<String, Value>,
    /// For each value, which deployment gave it, by its path: `$edgeHub.properties.desired.routes.up`.
    pub origins: BTreeMap<String, String>,
    /// Values that two deployments of the same priority give: path and both names. Which one wins is by chance.
    pub ties: Vec<(String, String, String)>,
}

/// Lays deployments over each other, the lowest priority first.
pub fn merge(deployments: &[&Deployment]) -> Merged {
    let mut merged = Merged::default();
    let mut sorted: Vec<&Deployment> = deployments.to_vec();
    // A base lies under all layers, whatever its priority.
    sorted.sort_by_key(|deployment| (deployment.is_layer(), deployment.priority));
    for deployment in sorted.iter().copied() {
        for (module, keys) in &deployment.content {
            for (key, value) in keys.as_object().into_iter().flatten() {
                merged.put(module, key, value, deployment, &sorted);
            }
        }
    }
    merged
}

impl Merged {
    /// The result as a manifest.
    pub fn manifest(&self) -> Value {
        serde_json::json!({ "modulesContent": self.content })
    }

    fn put(&mut self, module: &str, key: &str, value: &Value, from: &Deployment, all: &[&Deployment]) {
        let place = self.content.entry(module).or_insert_with(|| Value::Object(Map::new()));
        let path = format!("{module}.{key}");
        let Some(object) = place.as_object_mut() else { return };
        match key.strip_prefix(DESIRED).and_then(|rest| rest.strip_prefix('.')) {
            None => {
                object.insert(key.to_owned(), value.clone());
            }
            Some(inner) => {
                let desired = object.entry(DESIRED).or_insert_with(|| Value::Object(Map::new()));
                set(desired, &inner.split('.').collect::<Vec<_>>(), value);
            }
        }
        let below = format!("{path}.");
        let replaced: Vec<String> =
            self.origins.keys().filter(|known| **known == path || known.starts_with(&below)).cloned().collect();
        for known in replaced {
            let before = self.origins.remove(&known).unwrap_or_default();
            let tie = all.iter().find(|other| other.name == before).filter(|other| {
                other.priority == from.priority && other.is_layer() == from.is_layer() && other.name != from.name
            });
            if tie.is_some() {
                self.ties.push((known, before, from.name.clone()));
            }
        }
        note(&mut self.origins, &path, value, &from.name);
    }
}

/// Puts a value at a path; what stands in the way and is no object is replaced.
fn set(place: &mut Value, path: &[&str], value: &Value) {
    let Some((first, rest)) = path.split_first() else {
        place.clone_from(value);
        return;
    };
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    if let Some(object) = place.as_object_mut() {
        set(object.entry(*first).or_insert(Value::Null), rest, value);
    }
}

fn note(origins: &mut BTreeMap<String, String>, path: &str, value: &Value, from: &str) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                note(origins, &format!("{path}.{name}"), value, from);
            }
        }
        _ => {
            origins.insert(path.to_owned(), from.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(name: &str, priority: i64, content: &Value) -> Deployment {
        Deployment::read(name, &json!({"priority": priority, "content": {"modulesContent": content}})).unwrap()
    }

    #[test]
    fn higher_layers_replace_what_is_at_their_paths() {
        let base = deployment(
            "base",
            50,
            &json!({"$edgeAgent": {"properties.desired": {"modules": {"a": {"v": 1, "w": 1}}}},
            "$edgeHub": {"properties.desired": {"routes": {"r": "x"}}}}),
        );
        let low = deployment(
            "low",
            1,
            &json!({"$edgeAgent": {"properties.desired.modules.a": {"v": 2}},
            "$edgeHub": {"properties.desired.routes.s": "y"}}),
        );
        let high = deployment(
            "high",
            2,
            &json!({"$edgeHub": {"properties.desired.routes.s": "z"},
            "b": {"properties.desired.limit": 3}}),
        );
        let merged = merge(&[&high, &base, &low]);
        let expected = json!({"$edgeAgent": {"properties.desired": {"modules": {"a": {"v": 2}}}},
            "$edgeHub": {"properties.desired": {"routes": {"r": "x", "s": "z"}}}, "b": {"properties.desired": {"limit": 3}}});
        assert_eq!(Value::Object(merged.content), expected);
        assert_eq!(merged.origins["$edgeHub.properties.desired.routes.s"], "high");
        assert_eq!(merged.origins["$edgeAgent.properties.desired.modules.a.v"], "low");
        assert!(!merged.origins.contains_key("$edgeAgent.properties.desired.modules.a.w"));
        assert!(merged.ties.is_empty());
    }

    #[test]
    fn equal_priorities_are_told() {
        let one = deployment("one", 1, &json!({"m": {"properties.desired.a": 1}}));
        let two = deployment("two", 1, &json!({"m": {"properties.desired.a": 2}}));
        let ties = merge(&[&one, &two]).ties;
        assert_eq!(ties, [("m.properties.desired.a".to_owned(), "one".to_owned(), "two".to_owned())]);
    }
}
