//! Bringing edge devices the deployment that they are to have: of those that are for them the base of the highest priority,
//! and the layers over it.

use std::sync::{Arc, PoisonError};

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::manifest::layers::{Deployment, merge};
use serde_json::{Map, Value, json};

use super::all::{Applied, ConfigurationError};
use super::configuration::Configuration;
use super::rule::Rule;
use crate::cloud::deployments::Content;
use crate::cloud::hub::CloudHub;
use crate::cloud::query::TwinRow;
use crate::cloud::registry::{Condition, Registration};

impl CloudHub {
    /// Makes or changes a configuration, and brings it to the devices it is for.
    pub fn put_configuration(
        &self,
        wanted: Configuration,
        condition: Option<Condition>,
    ) -> Result<Arc<Configuration>, ConfigurationError> {
        let put = self.configurations().put(wanted, condition)?;
        self.roll_out(&self.registry().all())?;
        Ok(put)
    }

    /// Removes a configuration. Its devices get the next one; those for which there is none keep what they have.
    pub fn remove_configuration(&self, id: &str, condition: Option<Condition>) -> Result<(), ConfigurationError> {
        self.configurations().remove(id, condition)?;
        self.roll_out(&self.registry().all())
    }

    /// Looks again which configurations are for devices and modules that changed.
    pub(in crate::cloud) fn reconsider(&self, identities: &[Identity]) {
        if self.configurations().rules().is_empty() {
            return;
        }
        let changed: Vec<_> = identities.iter().filter_map(|identity| self.registry().get(identity)).collect();
        if let Err(error) = self.roll_out(&changed) {
            tracing::error!(%error, ?identities, "the configurations of devices cannot be applied");
        }
    }

    fn roll_out(&self, registrations: &[Arc<Registration>]) -> Result<(), ConfigurationError> {
        let _one = self.configurations().rolling.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = self.configurations().rules();
        let (mut contents, mut applied) = (Vec::new(), Vec::new());
        for registration in registrations.iter().filter(|item| item.edge && item.record.identity.module.is_none()) {
            let device = &registration.record.identity.device;
            let row = self.row(Arc::clone(registration));
            let Some((new, content)) = self.wanted(device, &row, &rules) else { continue };
            contents.extend(content.map(|content| (device.clone(), content)));
            applied.push((agent(device), Some(new)));
        }
        if let Err(error) = self.apply_contents(&contents) {
            // One that cannot have it must not keep it from the others.
            tracing::debug!(%error, "a deployment is applied to its devices one by one");
            applied.retain(|(key, _)| {
                let own = contents.iter().find(|(device, _)| agent(device) == *key);
                let outcome = own.map_or(Ok(()), |own| self.apply_contents(std::slice::from_ref(own)));
                outcome
                    .inspect_err(|error| tracing::error!(%error, device = key, "a deployment cannot be applied"))
                    .is_ok()
            });
        }
        self.configurations().applied.write(applied)?;
        self.set_paths(registrations, &rules)
    }

    /// What a device is to have, if that is not what it has; with content if that has to be applied.
    fn wanted(&self, device: &DeviceId, row: &TwinRow, rules: &[Rule]) -> Option<(Applied, Option<Content>)> {
        let old = self.configurations().applied.get(&agent(device)).unwrap_or_default();
        let meant: Vec<&Rule> = rules.iter().filter(|rule| rule.deployment.is_some() && rule.is_for(row)).collect();
        let deployments: Vec<&Deployment> = meant.iter().filter_map(|rule| rule.deployment.as_ref()).collect();
        let (layers, bases): (Vec<&Deployment>, Vec<&Deployment>) =
            deployments.into_iter().partition(|deployment| deployment.is_layer());
        let Some(base) = bases.into_iter().max_by_key(|base| base.priority) else {
            let nothing = Applied { configurations: Arc::default(), ..Applied::clone(&old) };
            return (!old.configurations.is_empty()).then_some((nothing, None));
        };
        // A layer has to lie above its base.
        let over: Vec<&Deployment> = layers.into_iter().filter(|layer| layer.priority > base.priority).collect();
        let all: Vec<&Deployment> = std::iter::once(base).chain(over).collect();
        let names: Vec<String> = all.iter().map(|deployment| deployment.name.clone()).collect();
        let content = merge(&all).content;
        if old.content == content {
            let renamed = Applied { configurations: Arc::new(names), ..Applied::clone(&old) };
            return (*renamed.configurations != *old.configurations).then_some((renamed, None));
        }
        let ready = self.ready(device, &content)?;
        let new = Applied { configurations: Arc::new(names), content, ..Applied::default() };
        Some((new, Some(ready)))
    }

    fn ready(&self, device: &DeviceId, content: &Map<String, Value>) -> Option<Content> {
        let read = Content::read(&json!({ "modulesContent": content }));
        let ready = read.and_then(|content| self.prepare(device, &content).map(|()| content));
        ready.inspect_err(|error| tracing::error!(%error, %device, "a deployment cannot be applied")).ok()
    }
}

/// Under which key it is kept what a device has.
pub(super) fn agent(device: &DeviceId) -> String {
    Identity::module(device.clone(), ModuleId::edge_agent()).to_string()
}
