//! Applying a deployment's content to one device: each module in it gets its desired properties, whole.

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::{Map, Value, json};

use super::hub::CloudHub;
use super::registry::{Condition, RegistryError, Wanted};
use super::twins::{Change, TwinError, check_replacement};

/// A deployment is not applied.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The content is not what a deployment may hold.
    #[error("{0}")]
    Invalid(String),
    /// The registry does not agree.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A twin does not take it.
    #[error("module {module}: {source}")]
    Twin {
        /// The module.
        module: ModuleId,
        /// Why not.
        source: TwinError,
    },
}

impl CloudHub {
    /// Applies `{"modulesContent": {module: {"properties.desired": …}}}`. Modules that the device's agent managed and that
    /// are not in the content any more are removed. Nothing is changed if any part is wrong.
    pub fn apply_content(&self, device: &DeviceId, content: &Value) -> Result<(), DeploymentError> {
        let registration = self.registry().require(&Identity::device(device.clone()))?;
        if !registration.edge {
            return Err(DeploymentError::Invalid(format!("{device} is not an edge device")));
        }
        let sections = sections(content)?;
        for (module, desired) in &sections {
            check_replacement(desired).map_err(|source| DeploymentError::Twin { module: module.clone(), source })?;
        }
        for (module, _) in &sections {
            let identity = Identity::module(device.clone(), module.clone());
            if self.registry().get(&identity).is_none() {
                let managed = Wanted { managed_by: Some("IotEdge".to_owned()), ..Wanted::default() };
                self.registry().put(&identity, managed, Some(Condition::Absent))?;
            }
        }
        self.remove_absent(device, &sections)?;
        // The agent comes last: when it learns of its modules, their twins are there already.
        let (agent, others): (Vec<_>, Vec<_>) =
            sections.into_iter().partition(|(module, _)| *module == ModuleId::edge_agent());
        for (module, desired) in others.into_iter().chain(agent) {
            let identity = Identity::module(device.clone(), module.clone());
            let change = Change { desired: Some(desired), replace: true, tags: None };
            self.change_twin(&identity, &change, None).map_err(|source| DeploymentError::Twin { module, source })?;
        }
        Ok(())
    }

    fn remove_absent(&self, device: &DeviceId, sections: &[(ModuleId, Value)]) -> Result<(), DeploymentError> {
        let wanted = agent_modules(sections);
        for registration in self.registry().modules(device) {
            let Some(module) = registration.record.identity.module.clone() else { continue };
            let managed = registration.managed_by.as_deref() == Some("IotEdge");
            let named = sections.iter().any(|(name, _)| *name == module) || wanted.contains_key(module.as_str());
            if managed && !named {
                self.remove_identity(&registration.record.identity, None)?;
            }
        }
        Ok(())
    }
}

/// The modules that the agent is told to run.
fn agent_modules(sections: &[(ModuleId, Value)]) -> Map<String, Value> {
    let agent = sections.iter().find(|(module, _)| *module == ModuleId::edge_agent());
    match agent.and_then(|(_, desired)| desired.get("modules")) {
        Some(Value::Object(modules)) => modules.clone(),
        _ => Map::new(),
    }
}

/// Each module of the content with its desired properties, all checked.
fn sections(content: &Value) -> Result<Vec<(ModuleId, Value)>, DeploymentError> {
    let invalid = |text: String| DeploymentError::Invalid(text);
    let modules = content
        .get("modulesContent")
        .or_else(|| content.get("moduleContent"))
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("the content has no modulesContent".to_owned()))?;
    let mut sections = Vec::new();
    for (name, section) in modules {
        let module = ModuleId::new(name).map_err(|error| invalid(format!("module {name:?}: {error}")))?;
        let desired = match (section.get("properties.desired"), section.as_object()) {
            (Some(desired @ Value::Object(_)), _) => desired.clone(),
            (None, Some(members)) if members.is_empty() => json!({}),
            (None, Some(members)) if members.keys().any(|key| key.starts_with("properties.desired.")) => {
                return Err(invalid(format!("module {name:?}: a layered deployment cannot be applied to one device")));
            }
            _ => return Err(invalid(format!("module {name:?}: properties.desired is not an object"))),
        };
        sections.push((module, desired));
    }
    if !modules.contains_key("$edgeAgent") {
        return Err(invalid("the content has no $edgeAgent".to_owned()));
    }
    Ok(sections)
}
