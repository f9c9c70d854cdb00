//! A module's side of the workload API: the two calls that every client library makes.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_schemas::sas::encode;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

const API_VERSION: &str = "2020-07-07";
/// A trust bundle is a few kilobytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The workload API could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The socket does not answer.
    #[error("the workload API at {path}: {reason}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It said no.
    #[error("the workload API answered {status}: {message}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// Its words.
        message: String,
    },
}

/// A client; each call is a connection of its own.
#[derive(Debug, Clone)]
pub struct WorkloadClient {
    socket: PathBuf,
}

impl WorkloadClient {
    /// Uses the API at a socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The certificates to trust, PEM.
    pub async fn trust_bundle(&self) -> Result<String, WorkloadError> {
        let answer = self.call("GET", "/trust-bundle", None).await?;
        Ok(answer.get("certificate").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Signs base64 data with the module's key. Returns the signature.
    pub async fn sign(&self, module: &str, generation: &str, data: &str) -> Result<Vec<u8>, WorkloadError> {
        let path = format!("/modules/{}/genid/{}/sign", encode(module), encode(generation));
        let body = json!({ "keyId": "primary", "algo": "HMACSHA256", "data": data });
        let answer = self.call("POST", &path, Some(body)).await?;
        let digest = answer.get("digest").and_then(Value::as_str).unwrap_or_default();
        BASE64.decode(digest).map_err(|error| self.unreachable(&error))
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, WorkloadError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let running = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?api-version={API_VERSION}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .map_err(|error| self.unreachable(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = axum::body::to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES)
            .await
            .map_err(|error| self.unreachable(&error))?;
        running.abort();
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let message = answer.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(WorkloadError::Refused { status: status.as_u16(), message })
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> WorkloadError {
        WorkloadError::Unreachable { path: self.socket.clone(), reason: error.to_string() }
    }
}
