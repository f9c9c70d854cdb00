//! Calls from module to module through the edge hub.
//!
//! The caller names itself in `x-ms-edge-moduleId: {device}/{module}` and proves it with its token. One SDK sends no
//! `api-version`. A plus sign in the path is one: identifiers have no blanks that it could stand for.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use edgectl_hub::gateway::{Credential, Gateway, Refusal};
use edgectl_schemas::ids::{DeviceId, Identity};
use edgectl_schemas::sas::InvalidToken;
use serde_json::json;

use super::access::credential;
use super::method::{MethodAnswer, read_request, response};
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
        // What is wrong with a request is told as a bare text.
        Err((StatusCode::BAD_REQUEST, text)) => (StatusCode::BAD_REQUEST, text).into_response(),
        Err((status, message)) => (status, Json(json!({ "message": message }))).into_response(),
    }
}

async fn try_call(
    calls: &Calls,
    target: &str,
    credential: Result<Credential, Refusal>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<MethodAnswer, (StatusCode, String)> {
    let caller = headers.get("x-ms-edge-moduleId").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bad_request = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    let caller = Identity::parse(caller)
        .ok()
        .filter(|caller| caller.module.is_some())
        .ok_or_else(|| bad_request("Request header does not contain ModuleId"))?;
    if caller.device != calls.device {
        return Err((StatusCode::UNAUTHORIZED, format!("Module {caller} is not on the same device")));
    }
    let credential = credential.map_err(|refusal| unproved(&caller, refusal))?;
    let client =
        calls.gateway.authenticate(&caller, &credential).await.map_err(|refusal| unproved(&caller, refusal))?;
    let target = Identity::parse(target).map_err(|error| bad_request(&error.to_string()))?;
    let body = serde_json::from_slice(body).map_err(|error| bad_request(&format!("the body is not JSON: {error}")))?;
    let request = read_request(&body).map_err(|text| bad_request(&text))?;
    let answer = calls.gateway.invoke(&client, &target, request).await.map_err(refused)?;
    Ok(response(&answer))
}

/// What a caller is told who is not who it says, in the runtime's words.
fn unproved(caller: &Identity, refusal: Refusal) -> (StatusCode, String) {
    match &refusal {
        Refusal::Unauthorized(reason) if *reason == InvalidToken::Format.to_string() => {
            (StatusCode::UNAUTHORIZED, unreadable("The specified SAS token has an invalid format"))
        }
        Refusal::Unauthorized(reason) if *reason == InvalidToken::Expired.to_string() => {
            (StatusCode::UNAUTHORIZED, unreadable("The specified SAS token is expired"))
        }
        Refusal::Unauthorized(_) => {
            (StatusCode::UNAUTHORIZED, format!("Unable to authenticate device with Id {caller}"))
        }
        _ => refused(refusal),
    }
}

fn unreadable(reason: &str) -> String {
    format!("Cannot parse SharedAccessSignature because of the following error - {reason}")
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
