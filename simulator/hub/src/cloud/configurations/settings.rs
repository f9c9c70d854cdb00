//! Desired properties that configurations set in the twins of devices and modules that run no deployment.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::all::{Applied, ConfigurationError};
use super::rule::Rule;
use crate::cloud::hub::CloudHub;
use crate::cloud::registry::Registration;
use crate::cloud::twins::Change;

impl CloudHub {
    /// Sets what is to be set in the twins of devices and modules, and takes back what no configuration sets any more.
    pub(super) fn set_paths(
        &self,
        registrations: &[Arc<Registration>],
        rules: &[Rule],
    ) -> Result<(), ConfigurationError> {
        let mut rules: Vec<&Rule> = rules.iter().filter(|rule| rule.configuration.paths().is_some()).collect();
        rules.sort_by_key(|rule| rule.configuration.priority);
        let mut applied = Vec::new();
        for registration in registrations {
            let identity = &registration.record.identity;
            let old = self.configurations().applied.get(&identity.to_string());
            if old.is_none() && rules.is_empty() {
                continue;
            }
            let row = self.row(Arc::clone(registration));
            let of_modules = identity.module.is_some();
            let meant: Vec<_> = rules.iter().filter(|rule| rule.is_of(of_modules) && rule.is_for(&row)).collect();
            // The deployment of an edge device is kept under its agent's name, and stays.
            let old = old.filter(|old| old.content.is_empty()).unwrap_or_default();
            let names = meant.iter().map(|rule| rule.configuration.id.clone()).collect();
            let mut paths = BTreeMap::new();
            for (content, _) in meant.iter().filter_map(|rule| rule.configuration.paths()) {
                paths.extend(content.iter().map(|(path, value)| (path.clone(), value.clone())));
            }
            let new = Applied { configurations: Arc::new(names), content: Map::new(), paths };
            if new == *old {
                continue;
            }
            if let Some(patch) = patch(&old.paths, &new.paths) {
                let change = Change { desired: Some(patch), ..Change::default() };
                if let Err(error) = self.change_twins(&[(identity.clone(), change)]) {
                    tracing::error!(%error, %identity, "a configuration cannot be applied");
                    continue;
                }
            }
            applied.push((identity.to_string(), Some(new)));
        }
        Ok(self.configurations().applied.write(applied)?)
    }
}

/// The patch that takes back old values and sets new ones; none if that changes nothing.
fn patch(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Option<Value> {
    let mut patch = Value::Object(Map::new());
    let gone = old.keys().filter(|path| !new.contains_key(*path)).map(|path| (path, &Value::Null));
    let set = new.iter().filter(|(path, value)| old.get(*path) != Some(value));
    let mut changes = false;
    for (path, value) in gone.chain(set) {
        changes = true;
        let names: Vec<&str> = path.split('.').skip(2).collect();
        put(&mut patch, &names, value);
    }
    changes.then_some(patch)
}

fn put(place: &mut Value, names: &[&str], value: &Value) {
    match names.split_first() {
        None => match (place, value) {
            (Value::Object(members), Value::Object(more)) => members.extend(more.clone()),
            (place, value) => place.clone_from(value),
        },
        Some((first, rest)) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            if let Some(members) = place.as_object_mut() {
                put(members.entry(*first).or_insert(Value::Null), rest, value);
            }
        }
    }
}
