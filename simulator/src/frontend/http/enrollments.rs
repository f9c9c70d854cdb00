//! The enrolments of the provisioning service, for those who manage them.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use edgectl_hub::auth::Right;
use edgectl_hub::cloud::enrollments::{EnrollmentError, Kind};
use serde_json::{Value, json};

use super::access::authorization;
use super::body::JsonBody;
use super::service::Service;
use super::{enrollment_shape, shape};
use crate::provisioning_error;

/// The paths.
pub fn routes() -> Router<Service> {
    Router::new()
        .route("/provisioning", get(facts))
        .merge(of(Kind::Individual, "/enrollments"))
        .merge(of(Kind::Group, "/enrollmentGroups"))
        // The clients do not agree on its case.
        .route("/enrollmentgroups/{name}/attestationmechanism", post(attestation_of_group))
        .route("/registrations/{name}", get(registration).delete(forget))
        .route("/registrations/{name}/query", post(registrations))
}

fn of(kind: Kind, path: &str) -> Router<Service> {
    let item = get(async move |_: Manager, State(service): State<Service>, Path(name): Path<String>| {
        read(&service, kind, &name)
    })
    .put(
        async move |_: Manager,
                    State(service): State<Service>,
                    Path(name): Path<String>,
                    headers: HeaderMap,
                    JsonBody(body): JsonBody<Value>| put(&service, kind, &name, &headers, &body),
    )
    .delete(
        async move |_: Manager, State(service): State<Service>, Path(name): Path<String>, headers: HeaderMap| {
            remove(&service, kind, &name, &headers)
        },
    );
    let secrets = post(async move |_: Manager, State(service): State<Service>, Path(name): Path<String>| {
        attestation(&service, kind, &name)
    });
    let query = post(async move |_: Manager, State(service): State<Service>| list(&service, kind));
    Router::new()
        .route(&format!("{path}/{{name}}"), item)
        .route(&format!("{path}/query"), query)
        .route(&format!("{path}/{{name}}/attestationmechanism"), secrets)
}

/// An error in the words of the provisioning service.
struct Refused(u32, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, body) = provisioning_error::body(self.0, &self.1);
        (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
    }
}

impl From<EnrollmentError> for Refused {
    fn from(error: EnrollmentError) -> Self {
        let code = match error {
            EnrollmentError::NotFound => 404_201,
            EnrollmentError::Exists => 409_201,
            EnrollmentError::Precondition => 412_002,
            EnrollmentError::Invalid(_) => 400_004,
            EnrollmentError::Documents(_) => 500_000,
        };
        Self(code, error.to_string())
    }
}

fn invalid(error: &super::answer::ServiceError) -> Refused {
    Refused(400_004, error.text().to_owned())
}

/// Proof that a request was made by who may manage enrolments.
struct Manager;

impl FromRequestParts<Service> for Manager {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Refused> {
        let checked = service.hub.authorize(authorization(&parts.headers), Right::Enrollment);
        checked.map(|_| Self).map_err(|error| Refused(401_002, error.to_string()))
    }
}

/// What devices need to know of the service. The real one shows this elsewhere.
async fn facts(_: Manager, State(service): State<Service>) -> Json<Value> {
    Json(json!({ "idScope": service.hub.provisioner().scope(), "serviceHost": service.hub.host() }))
}

fn put(service: &Service, kind: Kind, name: &str, headers: &HeaderMap, body: &Value) -> Result<Json<Value>, Refused> {
    let terms = enrollment_shape::terms(body, kind).map_err(|error| invalid(&error))?;
    let put = service.hub.provisioner().enrollments.put(kind, name, terms, shape::condition(headers))?;
    Ok(Json(enrollment_shape::enrollment(&service.hub, &put, kind, true)))
}

fn read(service: &Service, kind: Kind, name: &str) -> Result<Json<Value>, Refused> {
    let found = service.hub.provisioner().enrollments.get(kind, name).ok_or(EnrollmentError::NotFound)?;
    Ok(Json(enrollment_shape::enrollment(&service.hub, &found, kind, false)))
}

fn remove(service: &Service, kind: Kind, name: &str, headers: &HeaderMap) -> Result<StatusCode, Refused> {
    service.hub.provisioner().enrollments.remove(kind, name, shape::condition(headers))?;
    Ok(StatusCode::NO_CONTENT)
}

fn attestation(service: &Service, kind: Kind, name: &str) -> Result<Json<Value>, Refused> {
    let found = service.hub.provisioner().enrollments.get(kind, name).ok_or(EnrollmentError::NotFound)?;
    Ok(Json(enrollment_shape::attestation(&found.terms.attestation, true)))
}

async fn attestation_of_group(
    _: Manager,
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    attestation(&service, Kind::Group, &name)
}

/// All of them: the query language of the service knows nothing but `SELECT *`.
fn list(service: &Service, kind: Kind) -> Json<Vec<Value>> {
    let all = service.hub.provisioner().enrollments.all(kind);
    Json(all.iter().map(|item| enrollment_shape::enrollment(&service.hub, item, kind, false)).collect())
}

async fn registration(
    _: Manager,
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let found = service.hub.provisioned(&name);
    found.map(Json).ok_or_else(|| Refused(404_202, "Registration not found".to_owned()))
}

async fn forget(_: Manager, State(service): State<Service>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    match service.hub.provisioner().forget(&name) {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Refused(404_202, "Registration not found".to_owned())),
        Err(error) => Err(Refused(500_000, error.to_string())),
    }
}

async fn registrations(_: Manager, State(service): State<Service>, Path(name): Path<String>) -> Json<Vec<Value>> {
    Json(service.hub.provisioned_in(&name))
}
