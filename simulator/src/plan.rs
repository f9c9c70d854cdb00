//! What a whole device would do about a deployment: its agent, its hub, and the twins of its modules.

use std::collections::BTreeMap;
use std::time::Duration;

use edgectl_schemas::ids::{Identity, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::agent::forecast::{Action, Change, Forecast, changes};
use crate::agent::reconcile::Question;
use crate::requests::Requests;

/// For the agent, which may be pulling an image, to answer.
const AGENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a device would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevicePlan {
    /// What the agent would do.
    #[serde(flatten)]
    pub agent: Forecast,
    /// Changes of the desired properties of `$edgeHub`: routes, store, broker.
    pub hub: Vec<Change>,
    /// Changes of the desired properties of modules, by module; those without changes are left out.
    pub twins: BTreeMap<String, Vec<Change>>,
}

impl DevicePlan {
    /// Whether the deployment changes anything.
    pub fn has_changes(&self) -> bool {
        let is_changed = self.agent.modules.iter().any(|module| module.action != Action::Unchanged);
        is_changed
            || self.agent.modules.iter().any(|module| !module.changes.is_empty())
            || !self.hub.is_empty()
            || !self.twins.is_empty()
    }
}

impl Requests {
    /// What would be done about a deployment's `modulesContent`. Changes nothing.
    pub(crate) async fn plan(&self, modules_content: &Value) -> Result<DevicePlan, String> {
        let Value::Object(modules) = modules_content else { return Err("there is no modulesContent".to_owned()) };
        let desired = modules.get("$edgeAgent").and_then(desired_of);
        let desired = desired.ok_or("the deployment has no desired properties of $edgeAgent")?;
        let agent = self.ask_agent(desired.clone()).await?;
        let mut twins = self.twin_changes(modules)?;
        // What the agent is told is shown as what it would do.
        twins.remove("$edgeAgent");
        let hub = twins.remove("$edgeHub").unwrap_or_default();
        Ok(DevicePlan { agent, hub, twins })
    }

    async fn ask_agent(&self, desired: Value) -> Result<Forecast, String> {
        let (answer, answered) = oneshot::channel();
        let gone = |_| "the agent has ended".to_owned();
        let asked = async {
            self.questions.send(Question { desired, answer }).await.map_err(|_| "the agent has ended".to_owned())?;
            answered.await.map_err(gone)?
        };
        let busy = |_| "the agent is busy with the last deployment; try again when it is done".to_owned();
        tokio::time::timeout(AGENT_TIMEOUT, asked).await.map_err(busy)?
    }

    fn twin_changes(&self, modules: &Map<String, Value>) -> Result<BTreeMap<String, Vec<Change>>, String> {
        let cloud = self.cloud.as_ref();
        let cloud = cloud.ok_or("a device below another one has its twins there, and cannot tell what would change")?;
        let mut twins = BTreeMap::new();
        for (name, section) in modules {
            let module = ModuleId::new(name).map_err(|error| format!("module {name:?}: {error}"))?;
            let identity = Identity::module(self.device.clone(), module);
            let is_known = cloud.registry().get(&identity).is_some();
            let known = if is_known {
                cloud.twin_of(&identity).map_err(|error| error.to_string())?.desired.properties.clone()
            } else {
                Map::new()
            };
            let empty = Value::Object(Map::new());
            let found = changes("", &Value::Object(known), desired_of(section).unwrap_or(&empty));
            if !found.is_empty() {
                twins.insert(name.clone(), found);
            }
        }
        Ok(twins)
    }
}

fn desired_of(section: &Value) -> Option<&Value> {
    section.get("properties.desired")
}
