//! Requests of the workload API and their answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::authority::Issued;
use crate::workload::exchange::{Problem, api_version, details, read_body};
use crate::workload::route::{KeyAction, Route, is_caller};
use crate::workload::seal::Seal;
use crate::workload::socket::WorkloadFacts;

/// What one socket serves.
pub(super) struct Service {
    pub(super) facts: Arc<WorkloadFacts>,
    /// The module whose socket it is, by its identifier at the hub.
    pub(super) module_id: String,
}

pub(super) fn router(service: Service) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(service))
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let outcome = service.answer(request).await;
    outcome.map_or_else(IntoResponse::into_response, |(status, body)| (status, Json(body)).into_response())
}

impl Service {
    async fn answer(&self, request: Request) -> Result<(StatusCode, Value), Problem> {
        api_version(request.uri().query())?;
        let route =
            Route::parse(request.uri().path()).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not found"))?;
        let method = if route.is_get() { Method::GET } else { Method::POST };
        if request.method() != method {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "method not allowed"));
        }
        if route.module().is_some_and(|module| !is_caller(&self.module_id, module)) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden"));
        }
        match route {
            Route::TrustBundle => Ok((StatusCode::OK, json!({"certificate": self.facts.authority.trust_bundle()}))),
            Route::ManifestTrustBundle => Ok((StatusCode::OK, json!({"certificate": ""}))),
            Route::Modules => self.modules().await,
            Route::IdentityCertificate { .. } => {
                read_body(request).await?;
                self.identity_certificate()
            }
            Route::WithKey { generation_id, action, .. } => {
                let body = read_body(request).await?;
                self.with_key(&generation_id, action, &body.unwrap_or_default())
            }
        }
    }

    async fn modules(&self) -> Result<(StatusCode, Value), Problem> {
        let modules = self.facts.runtime.list().await.map_err(|error| Problem::internal(&error))?;
        Ok((StatusCode::OK, json!({"modules": modules.iter().map(details).collect::<Vec<_>>()})))
    }

    fn identity_certificate(&self) -> Result<(StatusCode, Value), Problem> {
        let facts = &self.facts;
        let issued =
            facts.authority.issue_identity(&facts.hub_host, &facts.device, &self.module_id, facts.clock.timestamp());
        issued.map(|issued| created(&issued)).map_err(|error| Problem::internal(&error))
    }

    fn with_key(&self, generation_id: &str, action: KeyAction, body: &Value) -> Result<(StatusCode, Value), Problem> {
        if body.is_null() {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "missing request body"));
        }
        // What is known to nobody cannot be told from what is not this module's.
        let key = self.facts.keys.find(&self.module_id, generation_id);
        let unknown = |status| Problem::new(status, format!("no identity {generation_id:?} of {}", self.module_id));
        let seal = |status| {
            let key = key.as_ref().ok_or_else(|| unknown(status))?;
            Ok(Seal::new(key, &self.module_id, generation_id, &bytes(body, "initializationVector")?))
        };
        match action {
            KeyAction::Sign => {
                check_algorithm(body)?;
                let data = bytes(body, "data")?;
                let key = key.as_ref().ok_or_else(|| unknown(StatusCode::NOT_FOUND))?;
                Ok((StatusCode::OK, json!({"digest": BASE64.encode(key.sign(&data))})))
            }
            KeyAction::Encrypt => {
                let plaintext = bytes(body, "plaintext")?;
                let ciphertext = seal(StatusCode::INTERNAL_SERVER_ERROR)?.encrypt(&plaintext);
                let ciphertext = ciphertext.map_err(|error| Problem::internal(&error))?;
                Ok((StatusCode::OK, json!({"ciphertext": BASE64.encode(ciphertext)})))
            }
            KeyAction::Decrypt => {
                let ciphertext = bytes(body, "ciphertext")?;
                let plaintext = seal(StatusCode::INTERNAL_SERVER_ERROR)?.decrypt(&ciphertext);
                let plaintext = plaintext.map_err(|error| Problem::internal(&error))?;
                Ok((StatusCode::OK, json!({"plaintext": BASE64.encode(plaintext)})))
            }
            KeyAction::ServerCertificate => self.server_certificate(text(body, "commonName")?),
        }
    }

    fn server_certificate(&self, common_name: &str) -> Result<(StatusCode, Value), Problem> {
        let module = self.module_id.strip_prefix('$').unwrap_or(&self.module_id);
        let issued = self.facts.authority.issue_server(&[common_name, module], self.facts.clock.timestamp());
        issued.map(|issued| created(&issued)).map_err(|error| Problem::internal(&error))
    }
}

/// The answer with a new certificate.
fn created(issued: &Issued) -> (StatusCode, Value) {
    let certificate = json!({
        "privateKey": {"type": "key", "bytes": issued.private_key_pem},
        "certificate": issued.certificate_pem,
        "expiration": issued.expires_at.to_string(),
    });
    (StatusCode::CREATED, certificate)
}

fn check_algorithm(body: &Value) -> Result<(), Problem> {
    match text(body, "algo")? {
        "HMACSHA256" => Ok(()),
        other => {
            Err(Problem::new(StatusCode::BAD_REQUEST, format!("algorithm {other:?} is unknown, HMACSHA256 is not")))
        }
    }
}

fn text<'a>(body: &'a Value, field: &str) -> Result<&'a str, Problem> {
    body[field]
        .as_str()
        .ok_or_else(|| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("missing field {field:?}")))
}

fn bytes(body: &Value, field: &str) -> Result<Vec<u8>, Problem> {
    BASE64
        .decode(text(body, field)?)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("{field:?} is not base64: {error}")))
}
