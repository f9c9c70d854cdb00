//! New keys for many identities: `POST /devices/keys/regenerate`.

use axum::extract::State;
use axum::{Json, Router, routing};
use edgectl_hub::auth::Authentication;
use edgectl_hub::cloud::registry::{Condition, Order, Registration, RegistryError, Wanted, new_key};
use edgectl_schemas::ids::Identity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Holder, RegistryWrite};
use super::answer::ServiceError;
use super::body::JsonBody;
use super::bulk::MAX_ITEMS;
use super::service::Service;
use super::shape;

/// The path.
pub fn routes() -> Router<Service> {
    Router::new().route("/devices/keys/regenerate", routing::post(regenerate))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    policy_key: Which,
    devices: Vec<Target>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Which {
    PrimaryKey,
    SecondaryKey,
    Both,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    id: String,
    module_id: Option<String>,
}

async fn regenerate(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Json<Value>, ServiceError> {
    let request = Request::deserialize(&body).map_err(|error| ServiceError::invalid(error.to_string()))?;
    if request.devices.len() > MAX_ITEMS {
        let count = request.devices.len();
        return Err(ServiceError::invalid(format!("{count} identities: {MAX_ITEMS} are taken at most")));
    }
    let (mut orders, mut errors) = (Vec::new(), Vec::new());
    for target in &request.devices {
        match target.order(&service, request.policy_key) {
            Ok(order) => orders.push(order),
            Err(error) => errors.push(target.error(&error)),
        }
    }
    let identities: Vec<Identity> = orders.iter().map(|order| order.identity.clone()).collect();
    let outcomes = service.hub.put_identities(orders).map_err(RegistryError::from)?;
    let mut rotated = Vec::new();
    for (identity, outcome) in identities.iter().zip(outcomes) {
        match outcome.and_then(|()| service.hub.registry().require(identity)) {
            Ok(registration) => rotated.push(keys_of(&registration)),
            Err(error) => errors.push(Target::of(identity).error(&error.into())),
        }
    }
    Ok(Json(json!({ "policyKey": body["policyKey"], "errors": errors, "rotatedKeys": rotated })))
}

impl Target {
    fn of(identity: &Identity) -> Self {
        let module_id = identity.module.as_ref().map(ToString::to_string);
        Self { id: identity.device.to_string(), module_id }
    }

    fn identity(&self) -> Result<Identity, ServiceError> {
        match &self.module_id {
            Some(module) => shape::module_identity(&self.id, module),
            None => shape::device_id(&self.id).map(Identity::device),
        }
    }

    fn order(&self, service: &Service, which: Which) -> Result<Order, ServiceError> {
        let identity = self.identity()?;
        let old = service.hub.registry().require(&identity)?;
        let Authentication::Sas { primary_key, secondary_key } = old.record.authentication.clone() else {
            return Err(ServiceError::invalid(format!("{identity} has no keys")));
        };
        let (primary_key, secondary_key) = match which {
            Which::PrimaryKey => (new_key(), secondary_key),
            Which::SecondaryKey => (primary_key, new_key()),
            Which::Both => (new_key(), new_key()),
        };
        let authentication = Some(Authentication::Sas { primary_key, secondary_key });
        let wanted = Wanted { authentication, ..Wanted::default() };
        Ok(Order { identity, wanted, condition: Some(Condition::Etag(old.etag)) })
    }

    fn error(&self, error: &ServiceError) -> Value {
        json!({ "id": self.id, "moduleId": self.module_id, "errorCode": error.code(), "errorStatus": error.text() })
    }
}

fn keys_of(registration: &Registration) -> Value {
    let identity = &registration.record.identity;
    let keys = shape::authentication(&registration.record.authentication)["symmetricKey"].clone();
    json!({
        "id": identity.device,
        "moduleId": identity.module,
        "primaryKey": keys["primaryKey"],
        "secondaryKey": keys["secondaryKey"],
    })
}
