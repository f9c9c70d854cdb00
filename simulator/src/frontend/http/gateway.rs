//! Calls from module to module through the edge hub.
//!
//! The caller names itself in `x-ms-edge-moduleId: {device}/{module}` and proves it with its token. One SDK sends no
//! `api-version`, and another writes blanks in the path as plus signs.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use edgectl_hub::gateway::{Credential, Gateway, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity};
use serde_json::{Value, json};

use super::access::credential;
use super::method::{read_request, response};
use super::serve::PeerCertificate;

/// A payload of 128 KiB and what is around it.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A hub, and the device whose modules may call.
#[derive(Clone)]
struct Calls {
    gateway: Arc<dyn Gateway>,
    device: DeviceId,
}

/// The paths for calls.
pub fn router(gateway: Arc<dyn Gateway>, device: DeviceId) -> Router {
    Router::new()
        .route("/twins/{device}/methods", post(call_device))
        .route("/twins/{device}/modules/{module}/methods", post(call_module))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Calls { gateway, device })
}

async fn call_device(
    State(calls): State<Calls>,
    Path(device): Path<String>,
    certificate: Option<Extension<PeerCertificate>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let credential = credential(certificate, &headers);
    call(&calls, &device, credential, &headers, &body).await
}

async fn call_module(
    State(calls): State<Calls>,
    Path((device, module)): Path<(String, String)>,
    certificate: Option<Extension<PeerCertificate>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let credential = credential(certificate, &headers);
    call(&calls, &format!("{device}/{module}"), credential, &headers, &body).await
}

async fn call(
    calls: &Calls,
    target: &str,
    credential: Result<Credential, Refusal>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    match try_call(calls, target, credential, headers, body).await {
        Ok(answer) => Json(answer).into_response(),
        Err((status, message)) => (status, Json(json!({ "message": message }))).into_response(),
    }
}

async fn try_call(
    calls: &Calls,
    target: &str,
    credential: Result<Credential, Refusal>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, (StatusCode, String)> {
    let caller = headers.get("x-ms-edge-moduleId").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bad_request = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    let caller = Identity::parse(caller)
        .ok()
        .filter(|caller| caller.module.is_some())
        .ok_or_else(|| bad_request("Request header does not contain ModuleId"))?;
    if caller.device != calls.device {
        return Err((StatusCode::UNAUTHORIZED, format!("Module {caller} is not on the same device")));
    }
    let credential = credential.map_err(refused)?;
    let client = calls.gateway.authenticate(&caller, &credential).await.map_err(refused)?;
    let target = Identity::parse(&target.replace('+', " ")).map_err(|error| bad_request(&error.to_string()))?;
    let body = serde_json::from_slice(body).map_err(|error| bad_request(&format!("the body is not JSON: {error}")))?;
    let request = read_request(&body).map_err(|text| bad_request(&text))?;
    let answer = calls.gateway.invoke(&client, &target, request).await.map_err(refused)?;
    Ok(response(&answer))
}

fn refused(refusal: Refusal) -> (StatusCode, String) {
    let status = match &refusal {
        Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        Refusal::NotFound(_) | Refusal::NotConnected(_) => StatusCode::NOT_FOUND,
        Refusal::NoAnswer(_) => StatusCode::GATEWAY_TIMEOUT,
        Refusal::TooLarge { .. } | Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::Detached | Refusal::Unavailable(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = match &refusal {
        Refusal::NotConnected(identity) => format!("Client {identity} not found"),
        other => other.to_string(),
    };
    (status, message)
}
