//! Identities of modules, as the management API shows and makes them.

use axum::http::StatusCode;
use edgectl_hub::auth::IdentityRecord;
use edgectl_hub::cloud::registry::{Condition, Wanted};
use edgectl_schemas::ids::{Identity, ModuleId};
use serde_json::{Value, json};

use super::service::Management;
use crate::requests::Requests;
use crate::workload::exchange::Problem;

/// Who manages identities of which nothing else is said.
const MANAGED_BY: &str = "iotedge";
/// Who manages those that the agent asked for.
const AGENT: &str = "IotEdge";

impl Management {
    pub(super) fn identities(&self) -> Value {
        json!({ "identities": known(&self.requests) })
    }

    /// Makes an identity, or says what is there.
    pub(super) async fn put_identity(&self, id: &str, body: &Value) -> Result<Value, Problem> {
        let module = ModuleId::new(id).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        let managed_by = body.get("managedBy").and_then(Value::as_str).unwrap_or(MANAGED_BY);
        let made = self.identities.ensure(id).await.map_err(|error| Problem::internal(&error))?;
        if let Some(cloud) = &self.requests.cloud {
            let identity = Identity::module(self.requests.device.clone(), module);
            let wanted = Wanted { managed_by: Some(managed_by.to_owned()), ..Wanted::default() };
            cloud
                .put_identity(&identity, wanted, Some(Condition::Present))
                .map_err(|error| Problem::internal(&error))?;
        }
        Ok(shown(id, managed_by, &made.generation_id))
    }

    pub(super) async fn remove_identity(&self, id: &str) -> Result<(), Problem> {
        let is_known = known(&self.requests).iter().any(|identity| identity["moduleId"] == id);
        if !is_known {
            return Err(Problem::new(StatusCode::NOT_FOUND, format!("no identity {id:?}")));
        }
        self.identities.remove(id).await.map_err(|error| Problem::internal(&error))
    }
}

/// The identities of the device's modules. A device below another one does not know who manages them.
fn known(requests: &Requests) -> Vec<Value> {
    let of = |record: &IdentityRecord, managed_by: &str| {
        let module = record.identity.module.as_ref()?;
        Some(shown(module.as_str(), managed_by, &record.generation_id))
    };
    let mut identities: Vec<Value> = match &requests.cloud {
        Some(cloud) => {
            let found = cloud.registry().modules(&requests.device);
            let managed_by = |name: &Option<String>| name.clone().unwrap_or_default();
            found.iter().filter_map(|module| of(&module.record, &managed_by(&module.managed_by))).collect()
        }
        None => {
            let members = requests.edge.scope().members_of(&requests.device);
            let own = members.iter().filter(|member| member.record.identity.device == requests.device);
            own.filter_map(|member| of(&member.record, AGENT)).collect()
        }
    };
    identities.sort_by_cached_key(|identity| identity["moduleId"].to_string());
    identities
}

fn shown(id: &str, managed_by: &str, generation_id: &str) -> Value {
    json!({ "moduleId": id, "managedBy": managed_by, "generationId": generation_id, "authType": "sas" })
}
