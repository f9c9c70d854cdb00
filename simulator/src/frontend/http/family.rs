//! What an edge hub offers to the edge devices below it: who is in their scope, and registrations of their modules.
//!
//! Scopes are answered from what this hub knows, read anew if the hub above can be asked; registrations are made by the
//! hub at the top, so those requests go up, on behalf of who asked. Paths and bodies are those of the cloud hub.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use edgectl_hub::edge::hub::EdgeHub;
use edgectl_hub::family;
use edgectl_hub::gateway::Refusal;
use edgectl_schemas::ids::{DeviceId, Identity};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{check_device, device_in_path};
use super::answer::ServiceError;
use super::member;
use super::scope::wanted_members;
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

async fn members_in_scope(Caller(actor): Caller, State(family): State<Family>, Json(body): Json<Value>) -> Answer {
    let target = family.target(&actor, &body)?;
    family.refresh().await;
    Ok(Json(member::members(&family.hub.scope().members_of(&target))).into_response())
}

async fn member_on_behalf(Caller(actor): Caller, State(family): State<Family>, Json(body): Json<Value>) -> Answer {
    let target = family.target(&actor, &body)?;
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
    Caller(actor): Caller,
    State(family): State<Family>,
    Path((_, operation)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    const OPERATIONS: [&str; 4] =
        ["putModuleOnBehalfOf", "getModuleOnBehalfOf", "getModulesOnTargetDevice", "deleteModuleOnBehalfOf"];
    if !OPERATIONS.contains(&operation.as_str()) {
        return Err(ServiceError::no_such_path());
    }
    let target = family.target(&actor, &body)?;
    family.on_behalf(&target, &operation, body).await
}

async fn list_modules(Caller(device): Caller, State(family): State<Family>) -> Answer {
    family.on_behalf(&device, "getModulesOnTargetDevice", json!({})).await
}

async fn put_module(
    Caller(device): Caller,
    State(family): State<Family>,
    Path((_, module)): Path<(String, String)>,
    Json(mut body): Json<Value>,
) -> Answer {
    if let Value::Object(members) = &mut body {
        members.insert("deviceId".into(), json!(device));
        members.insert("moduleId".into(), json!(module));
    }
    family.on_behalf(&device, "putModuleOnBehalfOf", json!({ "module": body })).await
}

async fn get_module(
    Caller(device): Caller,
    State(family): State<Family>,
    Path((_, module)): Path<(String, String)>,
) -> Answer {
    family.on_behalf(&device, "getModuleOnBehalfOf", json!({ "moduleId": module })).await
}

async fn remove_module(
    Caller(device): Caller,
    State(family): State<Family>,
    Path((_, module)): Path<(String, String)>,
) -> Answer {
    family.on_behalf(&device, "deleteModuleOnBehalfOf", json!({ "moduleId": module })).await
}

/// The device that a path begins with, and proof that the request was made by its edge hub or by itself. A handler takes it
/// before all else that it takes of the request.
struct Caller(DeviceId);

impl FromRequestParts<Family> for Caller {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, family: &Family) -> Result<Self, ServiceError> {
        let version = Query::<Version>::try_from_uri(&parts.uri).ok().and_then(|Query(version)| version.api_version);
        if version.is_none_or(|version| version.is_empty()) {
            return Err(ServiceError::no_version());
        }
        let device = device_in_path(parts, family).await?;
        check_device(family.hub.as_ref(), &parts.headers, &device).await?;
        Ok(Self(device))
    }
}

impl Family {
    /// Whom an edge hub asks about, after checking that it may.
    fn target(&self, actor: &DeviceId, body: &Value) -> Result<DeviceId, ServiceError> {
        let chain = body.get("authChain").and_then(Value::as_str).filter(|chain| !chain.is_empty());
        let chain = chain.unwrap_or(actor.as_str());
        let target = family::target(chain, actor, |identity| self.hub.scope().find(identity));
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
