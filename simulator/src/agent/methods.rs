//! Direct methods of `$edgeAgent`. Their names are taken in any case.

use std::time::Duration;

use serde_json::{Value, json};

use crate::runtime::module_runtime::{ModuleRuntime, RuntimeError};

const PING: &str = "ping";
const RESTART_MODULE: &str = "RestartModule";
const SUPPORTED: [&str; 2] = [PING, RESTART_MODULE];

/// What a method answers.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodAnswer {
    /// The status, in the codes of HTTP.
    pub status: i32,
    /// The payload, if there is one.
    pub payload: Option<Value>,
}

/// Why a method does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// The request is not one that the method understands.
    #[error("{0}")]
    Argument(String),
    /// The request's schema version is another one.
    #[error("schema version {0:?} is not supported, 1.0 is")]
    SchemaVersion(String),
    /// The runtime did not do it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl MethodError {
    /// The status that callers see.
    pub fn status(&self) -> i32 {
        match self {
            Self::Argument(_) => 400,
            Self::SchemaVersion(_) | Self::Runtime(_) => 500,
        }
    }
}

/// Does what a method asks for. The payload is JSON text and may be empty; modules that are stopped get the time of
/// `stop_timeout` to end.
pub async fn handle_method(
    runtime: &dyn ModuleRuntime,
    stop_timeout: Duration,
    name: &str,
    payload: &[u8],
) -> MethodAnswer {
    let outcome = match SUPPORTED.iter().find(|supported| supported.eq_ignore_ascii_case(name)) {
        Some(&PING) => Ok(()),
        Some(&RESTART_MODULE) => restart_module(runtime, stop_timeout, payload).await,
        _ => Err(MethodError::Argument(format!(
            "unknown command {name:?}, supported commands: {}",
            SUPPORTED.join(", ")
        ))),
    };
    match outcome {
        Ok(()) => MethodAnswer { status: 200, payload: None },
        Err(error) => MethodAnswer { status: error.status(), payload: Some(json!({"message": error.to_string()})) },
    }
}

async fn restart_module(
    runtime: &dyn ModuleRuntime,
    stop_timeout: Duration,
    payload: &[u8],
) -> Result<(), MethodError> {
    let request = read_request(payload)?;
    match request.get("id") {
        Some(Value::String(id)) if !id.trim().is_empty() => Ok(runtime.restart(id, stop_timeout).await?),
        _ => Err(MethodError::Argument("the request has no \"id\"".to_owned())),
    }
}

/// Reads a request and checks its schema version: the major version is 1.
fn read_request(payload: &[u8]) -> Result<Value, MethodError> {
    let request: Value = serde_json::from_slice(payload)
        .map_err(|error| MethodError::Argument(format!("the request is not JSON: {error}")))?;
    if !request.is_object() {
        return Err(MethodError::Argument("the request is not a JSON object".to_owned()));
    }
    match request.get("schemaVersion") {
        Some(Value::String(version)) if version.split('.').next() == Some("1") => Ok(request),
        Some(Value::String(version)) => Err(MethodError::SchemaVersion(version.clone())),
        _ => Err(MethodError::Argument("the request has no \"schemaVersion\"".to_owned())),
    }
}
