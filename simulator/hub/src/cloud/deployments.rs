//! Applying a deployment's content to one device: each module in it gets its desired properties, whole.

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::{Map, Value, json};

use super::hub::CloudHub;
use super::registry::{Condition, Order, RegistryError, Wanted};
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
        let content = Content::read(content)?;
        self.prepare(device, &content)?;
        self.apply_contents(&[(device.clone(), content)])
    }

    /// Whether content can be applied to a device.
    pub(super) fn prepare(&self, device: &DeviceId, content: &Content) -> Result<(), DeploymentError> {
        let registration = self.registry().require(&Identity::device(device.clone()))?;
        if !registration.edge {
            return Err(DeploymentError::Invalid(format!("{device} is not an edge device")));
        }
        for (module, desired) in &content.sections {
            check_replacement(desired).map_err(|source| DeploymentError::Twin { module: module.clone(), source })?;
        }
        Ok(())
    }

    /// Applies to many devices what was prepared for them, in one write for the registry and one for the twins.
    pub(super) fn apply_contents(&self, contents: &[(DeviceId, Content)]) -> Result<(), DeploymentError> {
        let mut orders = Vec::new();
        let mut made = Vec::new();
        let mut changes = Vec::new();
        for (device, content) in contents {
            for (module, desired) in &content.sections {
                let identity = Identity::module(device.clone(), module.clone());
                if self.registry().get(&identity).is_none() {
                    let wanted = Wanted { managed_by: Some(MANAGER.to_owned()), ..Wanted::default() };
                    orders.push(Order { identity: identity.clone(), wanted, condition: Some(Condition::Absent) });
                    made.push(identity.clone());
                }
                let change = Change { desired: Some(desired.clone()), replace: true, tags: None };
                changes.push((identity, change));
            }
        }
        for outcome in self.registry().put_all(orders).map_err(RegistryError::from)? {
            outcome?;
        }
        self.notice_lives(true, &made);
        for (device, content) in contents {
            self.remove_absent(device, &content.sections)?;
        }
        self.change_twins(&changes).map_err(|source| DeploymentError::Twin { module: ModuleId::edge_agent(), source })
    }

    fn remove_absent(&self, device: &DeviceId, sections: &[(ModuleId, Value)]) -> Result<(), DeploymentError> {
        let wanted = agent_modules(sections);
        for registration in self.registry().modules(device) {
            let Some(module) = registration.record.identity.module.clone() else { continue };
            let managed = registration.managed_by.as_deref() == Some(MANAGER);
            let named = sections.iter().any(|(name, _)| *name == module) || wanted.contains_key(module.as_str());
            if managed && !named {
                self.remove_identity(&registration.record.identity, None)?;
            }
        }
        Ok(())
    }
}

/// Who manages the modules of a deployment.
const MANAGER: &str = "IotEdge";

/// The content of a deployment: each module with its desired properties, the agent last. When it learns of its modules, their
/// twins are there already.
pub(super) struct Content {
    sections: Vec<(ModuleId, Value)>,
}

impl Content {
    /// Reads `{"modulesContent": …}`.
    pub(super) fn read(content: &Value) -> Result<Self, DeploymentError> {
        let mut sections = sections(content)?;
        sections.sort_by_key(|(module, _)| *module == ModuleId::edge_agent());
        Ok(Self { sections })
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
