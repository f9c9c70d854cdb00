//! Twins of devices and modules.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use edgectl_schemas::ids::Identity;
use serde_json::Value;

use super::access::{Holder, ServiceConnect};
use super::answer::ServiceError;
use super::body::JsonBody;
use super::service::Service;
use super::shape;

type Answer = Result<Json<Value>, ServiceError>;
type Module = Path<(String, String)>;

/// `GET /twins/{device}`.
pub async fn get_device(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(device): Path<String>,
) -> Answer {
    get(&service, &Identity::device(shape::device_id(&device)?))
}

/// `GET /twins/{device}/modules/{module}`.
pub async fn get_module(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path((device, module)): Module,
) -> Answer {
    get(&service, &shape::module_identity(&device, &module)?)
}

/// `PATCH /twins/{device}`.
pub async fn patch_device(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(device): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    change(&service, &Identity::device(shape::device_id(&device)?), &headers, &body, false)
}

/// `PATCH /twins/{device}/modules/{module}`.
pub async fn patch_module(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path((device, module)): Module,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    change(&service, &shape::module_identity(&device, &module)?, &headers, &body, false)
}

/// `PUT /twins/{device}`.
pub async fn put_device(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(device): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    change(&service, &Identity::device(shape::device_id(&device)?), &headers, &body, true)
}

/// `PUT /twins/{device}/modules/{module}`.
pub async fn put_module(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path((device, module)): Module,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    change(&service, &shape::module_identity(&device, &module)?, &headers, &body, true)
}

fn get(service: &Service, identity: &Identity) -> Answer {
    let registration = service.hub.registry().require(identity)?;
    let twin = service.hub.twin_of(identity)?;
    Ok(Json(shape::twin(&service.hub, &registration, &twin)))
}

fn change(service: &Service, identity: &Identity, headers: &HeaderMap, body: &Value, replace: bool) -> Answer {
    let registration = service.hub.registry().require(identity)?;
    let change = shape::change(body, replace)?;
    let twin = service.hub.change_twin(identity, &change, shape::twin_etag(headers))?;
    Ok(Json(shape::twin(&service.hub, &registration, &twin)))
}
