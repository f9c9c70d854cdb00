//! What an edge hub offers to the edge devices below it: who is in their scope, and registrations of their modules.
//!
//! Scopes are answered from what this hub knows, read anew if the hub above can be asked; registrations are made by the
//! hub at the top, so those requests go up, on behalf of who asked. Paths and bodies are those of the cloud hub.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use edgectl_hub::edge::hub::EdgeHub;
use edgectl_hub::family;
use edgectl_hub::gateway::{Credential, Gateway as _, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::authorization;
use super::answer::ServiceError;
use super::scope::wanted_members;
use super::{member, shape};
use crate::client::registry::RegistryClient;

/// An edge hub, and its way to the registry.
#[derive(Clone)]
pub struct Family {
    /// The hub.
    pub hub: Arc<EdgeHub>,
    /// The registry, through the hub above.
    pub registry: Arc<RegistryClient>,
}

/// The version of the interface that a request is made for; without one it is refused.
#[derive(Debug, Deserialize)]
struct Version {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
}

type Answer = Result<Response, ServiceError>;

/// The paths for edge devices below this one.
pub fn router(family: Family) -> Router {
    const EDGE_HUB: &str = "/devices/{actor}/modules/$edgeHub";
    let on_behalf = |operation: &str| format!("{EDGE_HUB}/{operation}");
    Router::new()
        .route(&on_behalf("devicesAndModulesInTargetDeviceScope"), post(members_in_scope))
        .route(&on_behalf("getDeviceAndModuleOnBehalfOf"), post(member_on_behalf))
        .route(&on_behalf("{operation}"), post(hand_up))
        .route("/devices/{device}/modules", get(list_modules))
        .route("/devices/{device}/modules/{module}", put(put_module).get(get_module).delete(remove_module))
        .with_state(family)
}

async fn members_in_scope(
    State(family): State<Family>,
    Path(actor): Path<String>,
    Query(version): Query<Version>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let target = family.target(&actor, &version, &headers, &body).await?;
    family.refresh().await;
    Ok(Json(member::members(&family.hub.scope().members_of(&target))).into_response())
}

async fn member_on_behalf(
    State(family): State<Family>,
    Path(actor): Path<String>,
    Query(version): Query<Version>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let target = family.target(&actor, &version, &headers, &body).await?;
    let wanted = wanted_members(&body, &target)?;
    let find = || wanted.iter().map(|identity| family.hub.scope().find(identity)).collect::<Option<Vec<_>>>();
    let found = match find() {
        Some(found) => found,
        None => {
            family.refresh().await;
            find().ok_or_else(|| Refusal::NotFound(format!("a member of the scope of {target}")))?
        }
    };
    Ok(Json(member::members(&found)).into_response())
}

/// A request on behalf of a device further down: the hub above gets it with the whole chain.
async fn hand_up(
    State(family): State<Family>,
    Path((actor, operation)): Path<(String, String)>,
    Query(version): Query<Version>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    const OPERATIONS: [&str; 4] =
        ["putModuleOnBehalfOf", "getModuleOnBehalfOf", "getModulesOnTargetDevice", "deleteModuleOnBehalfOf"];
    if !OPERATIONS.contains(&operation.as_str()) {
        return Err(ServiceError::no_such_path());
    }
    let target = family.target(&actor, &version, &headers, &body).await?;
    family.on_behalf(&target, &operation, body).await
}

async fn list_modules(
    State(family): State<Family>,
    Path(device): Path<String>,
    Query(version): Query<Version>,
    headers: HeaderMap,
) -> Answer {
    let device = family.device(&device, &version, &headers).await?;
    family.on_behalf(&device, "getModulesOnTargetDevice", json!({})).await
}

async fn put_module(
    State(family): State<Family>,
    Path((device, module)): Path<(String, String)>,
    Query(version): Query<Version>,
    headers: HeaderMap,
    Json(mut body): Json<Value>,
) -> Answer {
    let device = family.device(&device, &version, &headers).await?;
    if let Value::Object(members) = &mut body {
        members.insert("deviceId".into(), json!(device));
        members.insert("moduleId".into(), json!(module));
    }
    family.on_behalf(&device, "putModuleOnBehalfOf", json!({ "module": body })).await
}

async fn get_module(
    State(family): State<Family>,
    Path((device, module)): Path<(String, String)>,
    Query(version): Query<Version>,
    headers: HeaderMap,
) -> Answer {
    let device = family.device(&device, &version, &headers).await?;
    family.on_behalf(&device, "getModuleOnBehalfOf", json!({ "moduleId": module })).await
}

async fn remove_module(
    State(family): State<Family>,
    Path((device, module)): Path<(String, String)>,
    Query(version): Query<Version>,
    headers: HeaderMap,
) -> Answer {
    let device = family.device(&device, &version, &headers).await?;
    family.on_behalf(&device, "deleteModuleOnBehalfOf", json!({ "moduleId": module })).await
}

impl Family {
    /// The device that a request is made by, as its edge hub or as itself.
    async fn device(&self, device: &str, version: &Version, headers: &HeaderMap) -> Result<DeviceId, ServiceError> {
        if version.api_version.as_ref().is_none_or(String::is_empty) {
            return Err(ServiceError::no_version());
        }
        let device = shape::device_id(device)?;
        let credential = Credential::Token(authorization(headers).to_owned());
        let edge_hub = Identity::module(device.clone(), ModuleId::edge_hub());
        if self.hub.authenticate(&edge_hub, &credential).await.is_err() {
            self.hub.authenticate(&Identity::device(device.clone()), &credential).await?;
        }
        Ok(device)
    }

    /// Whom an edge hub asks about, after checking that it may.
    async fn target(
        &self,
        actor: &str,
        version: &Version,
        headers: &HeaderMap,
        body: &Value,
    ) -> Result<DeviceId, ServiceError> {
        let actor = self.device(actor, version, headers).await?;
        let chain = body.get("authChain").and_then(Value::as_str).filter(|chain| !chain.is_empty());
        let chain = chain.unwrap_or(actor.as_str());
        let target = family::target(chain, &actor, |identity| self.hub.scope().find(identity));
        target.map_err(|error| ServiceError::unauthorized(error.to_string()))
    }

    /// Without the hub above, what was known has to do.
    async fn refresh(&self) {
        if let Err(refusal) = self.hub.scope().refresh().await {
            tracing::debug!(%refusal, "the identities cannot be refreshed");
        }
    }

    /// Asks the hub above on behalf of a device, and hands its answer down as it is.
    async fn on_behalf(&self, device: &DeviceId, operation: &str, mut body: Value) -> Answer {
        let chain = self.hub.scope().chain(&Identity::device(device.clone()));
        if let Value::Object(members) = &mut body {
            members.insert("authChain".into(), json!(chain));
        }
        let (status, text) = self.registry.on_behalf(operation, &body).await?;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        if text.is_empty() {
            return Ok(status.into_response());
        }
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        Ok((status, [json], text).into_response())
    }
}
