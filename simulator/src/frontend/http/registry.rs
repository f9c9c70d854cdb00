//! Devices and modules.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use edgectl_schemas::ids::Identity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Caller, Holder, RegistryRead, RegistryWrite};
use super::answer::ServiceError;
use super::body::JsonBody;
use super::service::Service;
use super::shape;

type Answer = Result<Response, ServiceError>;

/// Most devices in one answer.
const MAX_DEVICES: usize = 1000;

/// How many devices are wanted.
#[derive(Debug, Deserialize)]
pub struct Top {
    top: Option<usize>,
}

impl Top {
    /// How many at most.
    pub fn most(&self) -> usize {
        self.top.unwrap_or(MAX_DEVICES).min(MAX_DEVICES)
    }
}

/// `GET /devices?top=N`.
pub async fn list_devices(_: Holder<RegistryRead>, State(service): State<Service>, Query(top): Query<Top>) -> Answer {
    let devices = service.hub.registry().devices();
    let shapes: Vec<Value> =
        devices.iter().take(top.most()).map(|item| shape::registration(&service.hub, item)).collect();
    Ok(Json(shapes).into_response())
}

/// `PUT /devices/{device}`.
pub async fn put_device(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    Path(device): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    put(&service, &Identity::device(shape::device_id(&device)?), &headers, &body)
}

/// `GET /devices/{device}`.
pub async fn get_device(Caller(device): Caller, State(service): State<Service>) -> Answer {
    get(&service, &Identity::device(device))
}

/// `DELETE /devices/{device}`.
pub async fn remove_device(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer {
    remove(&service, &Identity::device(shape::device_id(&device)?), &headers)
}

/// `GET /devices/{device}/modules`.
pub async fn list_modules(Caller(device): Caller, State(service): State<Service>) -> Answer {
    service.hub.registry().require(&Identity::device(device.clone()))?;
    let modules = service.hub.registry().modules(&device);
    let shapes: Vec<Value> = modules.iter().map(|item| shape::registration(&service.hub, item)).collect();
    Ok(Json(shapes).into_response())
}

/// `PUT /devices/{device}/modules/{module}`.
pub async fn put_module(
    _: Caller,
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let identity = shape::module_identity(&device, &module)?;
    put(&service, &identity, &headers, &body)
}

/// `GET /devices/{device}/modules/{module}`.
pub async fn get_module(
    _: Caller,
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
) -> Answer {
    let identity = shape::module_identity(&device, &module)?;
    get(&service, &identity)
}

/// `DELETE /devices/{device}/modules/{module}`.
pub async fn remove_module(
    _: Caller,
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let identity = shape::module_identity(&device, &module)?;
    remove(&service, &identity, &headers)
}

/// `POST /devices/{device}/applyConfigurationContent`.
pub async fn apply_content(
    _: Holder<RegistryWrite>,
    State(service): State<Service>,
    Path(device): Path<String>,
    JsonBody(content): JsonBody<Value>,
) -> Answer {
    service.hub.apply_content(&shape::device_id(&device)?, &content)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /statistics/devices`.
pub async fn statistics(_: Holder<RegistryRead>, State(service): State<Service>) -> Answer {
    let devices = service.hub.registry().devices();
    let enabled = devices.iter().filter(|device| device.record.enabled).count();
    let total = devices.len();
    Ok(Json(json!({
        "totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled,
    }))
    .into_response())
}

/// `GET /statistics/service`.
pub async fn service_statistics(_: Holder<RegistryRead>, State(service): State<Service>) -> Answer {
    let connected = service.hub.connected().iter().filter(|identity| identity.module.is_none()).count();
    Ok(Json(json!({ "connectedDeviceCount": connected })).into_response())
}

fn put(service: &Service, identity: &Identity, headers: &HeaderMap, body: &Value) -> Answer {
    let put = service.hub.put_identity(identity, shape::wanted(body)?, shape::condition(headers))?;
    Ok(Json(shape::registration(&service.hub, &put)).into_response())
}

fn get(service: &Service, identity: &Identity) -> Answer {
    let found = service.hub.registry().require(identity)?;
    Ok(Json(shape::registration(&service.hub, &found)).into_response())
}

fn remove(service: &Service, identity: &Identity, headers: &HeaderMap) -> Answer {
    service.hub.remove_identity(identity, shape::condition(headers))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
