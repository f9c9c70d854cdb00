//! What devices ask of the provisioning service over HTTPS.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use edgectl_hub::provisioning::{Applicant, Operation, Provisioning as _, ProvisioningRefusal};
use serde_json::{Value, json};

use super::access::credential;
use super::serve::PeerCertificate;
use super::service::Service;
use crate::provisioning_error;

/// Seconds after which a device may ask what became of its registration.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// The paths.
pub fn routes() -> Router<Service> {
    Router::new()
        .route("/{scope}/registrations/{registration}/register", put(register))
        .route("/{scope}/registrations/{registration}/operations/{operation}", get(operation))
        .route("/{scope}/registrations/{registration}", post(registration))
}

type Peer = Option<Extension<PeerCertificate>>;

async fn register(
    State(service): State<Service>,
    Path((scope, registration)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    let applicant = applicant(scope, registration, peer, &headers);
    match applicant.and_then(|applicant| service.hub.register(&applicant)) {
        Ok(operation) => with_delay((StatusCode::ACCEPTED, Json(begun(&operation))).into_response()),
        Err(refusal) => refused(&refusal),
    }
}

async fn operation(
    State(service): State<Service>,
    Path((scope, registration, operation)): Path<(String, String, String)>,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    let applicant = applicant(scope, registration, peer, &headers);
    match applicant.and_then(|applicant| service.hub.operation(&applicant, &operation)) {
        Ok(operation) => Json(done(&operation)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

async fn registration(
    State(service): State<Service>,
    Path((scope, registration)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
) -> Response {
    let applicant = applicant(scope, registration, peer, &headers);
    match applicant.and_then(|applicant| service.hub.registration(&applicant)) {
        Ok(state) => Json(state).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

fn applicant(
    scope: String,
    registration_id: String,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<Applicant, ProvisioningRefusal> {
    let credential = credential(peer, headers).map_err(|_| ProvisioningRefusal::Unauthorized)?;
    Ok(Applicant { scope, registration_id, credential })
}

/// The answer to a registration, whatever became of it: devices ask again.
pub fn begun(operation: &Operation) -> Value {
    json!({ "operationId": operation.id, "status": "assigning" })
}

/// The answer to who asks what became of it.
pub fn done(operation: &Operation) -> Value {
    json!({ "operationId": operation.id, "status": operation.status, "registrationState": operation.state })
}

fn with_delay(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    response
}

fn refused(refusal: &ProvisioningRefusal) -> Response {
    let (status, body) = provisioning_error::of(refusal);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}
