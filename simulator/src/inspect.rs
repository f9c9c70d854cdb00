//! All that a device knows of one of its modules; what looks like a secret is not told.

use std::collections::BTreeMap;

use edgectl_schemas::ids::{Identity, ModuleId};
use edgectl_schemas::manifest::create_options;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::redact::shown;
use crate::requests::{ModuleStatus, Requests};

/// A module, looked at closely.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Its name, status, image and process.
    #[serde(flatten)]
    pub status: ModuleStatus,
    /// Who it is: `device/module`.
    pub identity: String,
    /// The digest of what runs, where the runtime knows one.
    pub image_hash: Option<String>,
    /// When it was last started, RFC 3339.
    pub started_at: Option<String>,
    /// When it last ended, RFC 3339.
    pub exited_at: Option<String>,
    /// The code with which it last ended.
    pub exit_code: Option<i32>,
    /// What its processes may use, where this machine sees to it and not an engine.
    pub limits: Option<String>,
    /// Why they are not held to that.
    pub limits_unenforced: Option<String>,
    /// What the deployment says of it, without its environment and settings.
    pub deployment: Map<String, Value>,
    /// The deployment's environment for it.
    pub env: BTreeMap<String, String>,
    /// What the container engine is told, or would be.
    pub create_options: Value,
    /// The routes that name it.
    pub routes: BTreeMap<String, String>,
    /// Messages that wait for its inputs, by endpoint.
    pub queues: BTreeMap<String, usize>,
}

impl Requests {
    /// Looks at a module of the device closely.
    pub(crate) async fn inspect(&self, module: &str) -> Result<Inspection, String> {
        let status = self.status().await?;
        let status = status.modules.into_iter().find(|known| known.name == module);
        let status = status.ok_or_else(|| format!("the device has no module {module}"))?;
        let id = ModuleId::new(module).map_err(|error| format!("module {module:?}: {error}"))?;
        let states = self.runtime.list().await.map_err(|error| error.to_string())?;
        let state = states.into_iter().find(|state| state.name == module);
        let desired = self.desired().await?;
        let deployed = desired.get("modules").and_then(|modules| modules.get(module));
        let mut deployment = deployed.and_then(Value::as_object).cloned().unwrap_or_default();
        let env = deployment.remove("env").map(|env| environment(&env)).unwrap_or_default();
        let settings = deployment.remove("settings");
        let hub = self.edge.status();
        let own = format!("{}/{module}/", self.device);
        Ok(Inspection {
            status,
            identity: Identity::module(self.device.clone(), id).to_string(),
            image_hash: state.as_ref().and_then(|state| state.image_hash.clone()),
            started_at: state.as_ref().and_then(|state| Some(state.started_at?.to_string())),
            exited_at: state.as_ref().and_then(|state| Some(state.exited_at?.to_string())),
            exit_code: state.as_ref().and_then(|state| state.exit_code),
            limits: state.as_ref().and_then(|state| state.limits.clone()),
            limits_unenforced: state.and_then(|state| state.limits_unenforced),
            deployment,
            env,
            create_options: settings.as_ref().and_then(Value::as_object).map(engine_options).unwrap_or_default(),
            routes: hub.routes.into_iter().filter(|(_, text)| names(text, module)).collect(),
            queues: hub.queues.into_iter().filter(|(endpoint, _)| endpoint.starts_with(&own)).collect(),
        })
    }
}

/// Whether a route names a module as its source or its sink.
fn names(route: &str, module: &str) -> bool {
    let behind = route.split("/modules/").skip(1);
    behind.into_iter().any(|rest| {
        let rest = rest.strip_prefix(module);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')))
    })
}

fn environment(env: &Value) -> BTreeMap<String, String> {
    let values = env.as_object().into_iter().flatten();
    values
        .map(|(name, value)| {
            let value = value.get("value").unwrap_or(value);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), shown(name, &value))
        })
        .collect()
}

fn engine_options(settings: &Map<String, Value>) -> Value {
    let joined = create_options::join(settings).ok();
    let Some(mut options) = joined.and_then(|text| create_options::parse(&text).ok()) else { return Value::Null };
    if let Some(Value::Array(env)) = options.get_mut("Env") {
        for entry in env {
            if let Some((name, value)) = entry.as_str().and_then(|entry| entry.split_once('=')) {
                *entry = format!("{name}={}", shown(name, value)).into();
            }
        }
    }
    Value::Object(options)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::redact::HIDDEN;

    #[test]
    fn secrets_are_not_shown_wherever_they_stand() {
        let env = json!({
            "MessageDelay": { "value": "00:00:01" }, "API_KEY": { "value": "abc" }, "Retries": { "value": 3 },
            "Upstream": { "value": "HostName=h;DeviceId=d;SharedAccessKey=Zm9v" },
        });
        let shown = environment(&env);
        assert_eq!(shown["MessageDelay"], "00:00:01");
        assert_eq!(shown["Retries"], "3");
        assert_eq!((shown["API_KEY"].as_str(), shown["Upstream"].as_str()), (HIDDEN, HIDDEN));
        let settings = json!({ "createOptions": "{\"Env\":[\"DB_PASSWORD=x\",\"A=1\"],\"HostConfig\":{}}" });
        let options = engine_options(settings.as_object().unwrap());
        assert_eq!(options["Env"], json!(["DB_PASSWORD=***", "A=1"]));
        assert!(options.get("HostConfig").is_some());
    }

    #[test]
    fn a_route_names_a_module_only_by_its_whole_name() {
        let route = "FROM /messages/modules/filter/outputs/* INTO BrokeredEndpoint(\"/modules/store/inputs/in\")";
        assert!(names(route, "filter") && names(route, "store"));
        assert!(!names(route, "fil") && !names("FROM /messages/modules/filter2/* INTO $upstream", "filter"));
        assert!(names("FROM /messages/modules/filter INTO $upstream", "filter"));
    }
}
