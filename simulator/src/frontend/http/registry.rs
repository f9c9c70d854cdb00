//! Devices and modules.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use edgectl_hub::cloud::registry::RegistryError;
use edgectl_schemas::ids::Identity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{require_device, require_service};
use super::answer::ServiceError;
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

/// `GET /devices?top=N`.
pub async fn list_devices(State(service): State<Service>, Query(top): Query<Top>, headers: HeaderMap) -> Answer {
    require_service(&service.hub, &service.key, &headers)?;
    let devices = service.hub.registry().devices().map_err(RegistryError::from)?;
    let count = top.top.unwrap_or(MAX_DEVICES).min(MAX_DEVICES);
    let shapes: Vec<Value> = devices.iter().take(count).map(|item| shape::registration(&service.hub, item)).collect();
    Ok(Json(shapes).into_response())
}

/// `PUT /devices/{device}`.
pub async fn put_device(
    State(service): State<Service>,
    Path(device): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    require_service(&service.hub, &service.key, &headers)?;
    put(&service, &Identity::device(shape::device_id(&device)?), &headers, &body)
}

/// `GET /devices/{device}`.
pub async fn get_device(State(service): State<Service>, Path(device): Path<String>, headers: HeaderMap) -> Answer {
    let device = shape::device_id(&device)?;
    require_device(&service.hub, &service.key, &headers, &device).await?;
    get(&service, &Identity::device(device))
}

/// `DELETE /devices/{device}`.
pub async fn remove_device(State(service): State<Service>, Path(device): Path<String>, headers: HeaderMap) -> Answer {
    require_service(&service.hub, &service.key, &headers)?;
    remove(&service, &Identity::device(shape::device_id(&device)?), &headers)
}

/// `GET /devices/{device}/modules`.
pub async fn list_modules(State(service): State<Service>, Path(device): Path<String>, headers: HeaderMap) -> Answer {
    let device = shape::device_id(&device)?;
    require_device(&service.hub, &service.key, &headers, &device).await?;
    service.hub.registry().require(&Identity::device(device.clone()))?;
    let modules = service.hub.registry().modules(&device).map_err(RegistryError::from)?;
    let shapes: Vec<Value> = modules.iter().map(|item| shape::registration(&service.hub, item)).collect();
    Ok(Json(shapes).into_response())
}

/// `PUT /devices/{device}/modules/{module}`.
pub async fn put_module(
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let identity = shape::module_identity(&device, &module)?;
    require_device(&service.hub, &service.key, &headers, &identity.device).await?;
    put(&service, &identity, &headers, &body)
}

/// `GET /devices/{device}/modules/{module}`.
pub async fn get_module(
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let identity = shape::module_identity(&device, &module)?;
    require_device(&service.hub, &service.key, &headers, &identity.device).await?;
    get(&service, &identity)
}

/// `DELETE /devices/{device}/modules/{module}`.
pub async fn remove_module(
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let identity = shape::module_identity(&device, &module)?;
    require_device(&service.hub, &service.key, &headers, &identity.device).await?;
    remove(&service, &identity, &headers)
}

/// `POST /devices/{device}/applyConfigurationContent`.
pub async fn apply_content(
    State(service): State<Service>,
    Path(device): Path<String>,
    headers: HeaderMap,
    Json(content): Json<Value>,
) -> Answer {
    require_service(&service.hub, &service.key, &headers)?;
    service.hub.apply_content(&shape::device_id(&device)?, &content)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /statistics/devices`.
pub async fn statistics(State(service): State<Service>, headers: HeaderMap) -> Answer {
    require_service(&service.hub, &service.key, &headers)?;
    let devices = service.hub.registry().devices().map_err(RegistryError::from)?;
    let enabled = devices.iter().filter(|device| device.record.enabled).count();
    let total = devices.len();
    Ok(Json(json!({
        "totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled,
    }))
    .into_response())
}

fn put(service: &Service, identity: &Identity, headers: &HeaderMap, body: &Value) -> Answer {
    let put = service.hub.put_identity(identity, shape::wanted(body)?, shape::condition(headers)?)?;
    Ok(Json(shape::registration(&service.hub, &put)).into_response())
}

fn get(service: &Service, identity: &Identity) -> Answer {
    let found = service.hub.registry().require(identity)?;
    Ok(Json(shape::registration(&service.hub, &found)).into_response())
}

fn remove(service: &Service, identity: &Identity, headers: &HeaderMap) -> Answer {
    service.hub.remove_identity(identity, shape::condition(headers)?)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
