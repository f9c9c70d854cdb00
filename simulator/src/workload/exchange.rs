//! What the workload and the management API of a device have in common: versions, bodies, errors, how a module is shown.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use edgectl_schemas::sas::decode;
use serde_json::{Value, json};

use crate::runtime::module_runtime::ModuleState;
use crate::workload::route::API_VERSIONS;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// An answer that is an error: `{"message"}`.
#[derive(Debug)]
pub struct Problem(pub StatusCode, pub String);

impl Problem {
    /// A status of HTTP, and why.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(status, message.into())
    }

    /// Something of ours failed.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"message": self.1}))).into_response()
    }
}

/// A module as the management and the workload API show it.
pub fn details(module: &ModuleState) -> Value {
    let mut status = json!({"runtimeStatus": {"status": module.status.as_str(), "description": module.description}});
    if let Some(started) = module.started_at {
        status["startTime"] = json!(started.to_string());
    }
    if let (Some(exited), Some(code)) = (module.exited_at, module.exit_code) {
        status["exitStatus"] = json!({"exitTime": exited.to_string(), "statusCode": code.to_string()});
    }
    json!({
        "id": "id", "name": module.name, "type": "docker", "status": status,
        "config": {"settings": {"image": module.image, "imageHash": module.image_hash}, "env": []},
    })
}

/// The version that a request names, which it must.
pub fn api_version(query: Option<&str>) -> Result<&'static str, Problem> {
    match parameter(query, "api-version") {
        None => Err(Problem::new(StatusCode::BAD_REQUEST, "api-version not specified")),
        Some(version) => {
            let known = API_VERSIONS.into_iter().find(|known| *known == version);
            known.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, format!("invalid api-version {version:?}")))
        }
    }
}

/// A parameter of a query, decoded.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut fields = query.unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    fields.find(|(known, _)| *known == name).map(|(_, value)| decode(value))
}

/// Reads a JSON body; none if it is empty. Python's library names no content type, and none is JSON too.
pub async fn read_body(request: Request<Body>) -> Result<Option<Value>, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media_type = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
    if media_type.is_some_and(|media_type| !media_type.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "request body must be application/json"));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY_BYTES)).await;
    let body = body
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request body did not come in time"))?
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    if body.is_empty() {
        return Ok(None);
    }
    let unreadable = |reason: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason);
    match serde_json::from_slice(&body) {
        Ok(value @ Value::Object(_)) => Ok(Some(value)),
        Ok(_) => Err(unreadable("the request body is not a JSON object".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}
