//! What edge hubs ask of the cloud hub: who is in their scope, and registrations of modules below them.
//!
//! They name themselves in the path and say in `authChain` whom they ask about: `target;…;actor`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use edgectl_hub::cloud::registry::Condition;
use edgectl_hub::family::Member;
use edgectl_schemas::ids::{DeviceId, Identity};
use serde_json::Value;

use super::access::Caller;
use super::answer::ServiceError;
use super::body::JsonBody;
use super::member;
use super::service::Service;
use super::shape;

type Answer = Result<Response, ServiceError>;

/// `POST /devices/{actor}/modules/$edgeHub/devicesAndModulesInTargetDeviceScope`.
pub async fn members_in_scope(
    Caller(actor): Caller,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let target = target(&service, &actor, &body)?;
    let found = service.hub.registry().in_scope_of(&target)?;
    let found: Vec<Member> = found.iter().map(|found| found.member()).collect();
    Ok(Json(member::members(&found)).into_response())
}

/// `POST /devices/{actor}/modules/$edgeHub/getDeviceAndModuleOnBehalfOf`.
pub async fn member_on_behalf(
    Caller(actor): Caller,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let target = target(&service, &actor, &body)?;
    let wanted = wanted_members(&body, &target)?;
    let found = wanted.iter().map(|identity| service.hub.registry().require(identity));
    let found = found.map(|found| found.map(|found| found.member())).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(member::members(&found)).into_response())
}

/// The device and, if one is named, the module that a body asks about: `{targetDeviceId, targetModuleId}`.
pub fn wanted_members(body: &Value, target: &DeviceId) -> Result<Vec<Identity>, ServiceError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if text("targetDeviceId").is_some_and(|device| device != target.as_str()) {
        return Err(ServiceError::invalid("targetDeviceId is not the target of authChain"));
    }
    let mut wanted = vec![Identity::device(target.clone())];
    if let Some(module) = text("targetModuleId") {
        wanted.push(shape::module_identity(target.as_str(), module)?);
    }
    Ok(wanted)
}

/// `POST /devices/{actor}/modules/$edgeHub/putModuleOnBehalfOf`: `{authChain, module}`.
pub async fn put_module(
    Caller(actor): Caller,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let target = target(&service, &actor, &body)?;
    let module = body.get("module").ok_or_else(|| ServiceError::invalid("module is missing"))?;
    let identity = module_of(&target, module)?;
    let exists = service.hub.registry().get(&identity).is_some();
    let condition = if exists { Condition::Present } else { Condition::Absent };
    let put = service.hub.put_identity(&identity, shape::wanted(module)?, Some(condition))?;
    Ok(Json(shape::registration(&service.hub, &put)).into_response())
}

/// `POST /devices/{actor}/modules/$edgeHub/getModuleOnBehalfOf`: `{authChain, moduleId}`.
pub async fn get_module(
    Caller(actor): Caller,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let target = target(&service, &actor, &body)?;
    let found = service.hub.registry().require(&module_of(&target, &body)?)?;
    Ok(Json(shape::registration(&service.hub, &found)).into_response())
}

/// `POST /devices/{actor}/modules/$edgeHub/getModulesOnTargetDevice`: `{authChain}`.
pub async fn list_modules(
    Caller(actor): Caller,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let target = target(&service, &actor, &body)?;
    let modules = service.hub.registry().modules(&target);
    let shapes: Vec<Value> = modules.iter().map(|item| shape::registration(&service.hub, item)).collect();
    Ok(Json(shapes).into_response())
}

/// `POST /devices/{actor}/modules/$edgeHub/deleteModuleOnBehalfOf`: `{authChain, moduleId}`.
pub async fn remove_module(
    Caller(actor): Caller,
    State(service): State<Service>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let target = target(&service, &actor, &body)?;
    service.hub.remove_identity(&module_of(&target, &body)?, None)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn module_of(target: &DeviceId, body: &Value) -> Result<Identity, ServiceError> {
    let module = body.get("moduleId").and_then(Value::as_str).unwrap_or_default();
    shape::module_identity(target.as_str(), module)
}

/// Whom an edge hub asks about, after checking that it may.
fn target(service: &Service, actor: &DeviceId, body: &Value) -> Result<DeviceId, ServiceError> {
    // Those who ask about themselves may leave the chain out.
    let chain = body.get("authChain").and_then(Value::as_str).filter(|chain| !chain.is_empty());
    Ok(service.hub.registry().target(chain.unwrap_or(actor.as_str()), actor)?)
}
