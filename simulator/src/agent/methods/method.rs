//! Which method is called, and what it answers. Names are taken in any case.

use std::time::Duration;

use serde_json::{Value, json};

use jiff::Timestamp;

use super::logs;
use crate::runtime::module_runtime::{ModuleRuntime, RuntimeError};

const PING: &str = "ping";
pub(crate) const RESTART_MODULE: &str = "RestartModule";
const GET_MODULE_LOGS: &str = "GetModuleLogs";
const SUPPORTED: [&str; 3] = [PING, RESTART_MODULE, GET_MODULE_LOGS];

/// Whose agent it is.
#[derive(Debug, Clone, Default)]
pub struct AgentIdentity {
    /// The cloud hub's host name.
    pub hub: String,
    /// The device.
    pub device: String,
}

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
    /// The answer would be too large.
    #[error("the logs are longer than {limit} bytes: ask for fewer lines with `tail`, `since`, `until` or `regex`")]
    TooMuch {
        /// Most bytes of an answer.
        limit: usize,
    },
    /// Something on the machine failed.
    #[error("{0}")]
    Failed(String),
    /// The runtime did not do it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl MethodError {
    /// The status that callers see.
    pub fn status(&self) -> i32 {
        match self {
            Self::Argument(_) => 400,
            Self::SchemaVersion(_) | Self::TooMuch { .. } | Self::Failed(_) | Self::Runtime(_) => 500,
        }
    }
}

/// The name of a method as the agent writes it, if it has that method.
pub fn known_name(name: &str) -> Option<&'static str> {
    SUPPORTED.iter().copied().find(|supported| supported.eq_ignore_ascii_case(name))
}

/// Does what a method asks for. The payload is JSON text and may be empty; modules that are stopped get the time of
/// `stop_timeout` to end.
pub async fn handle_method(
    runtime: &dyn ModuleRuntime,
    identity: &AgentIdentity,
    stop_timeout: Duration,
    name: &str,
    payload: &[u8],
) -> MethodAnswer {
    let outcome = match known_name(name) {
        Some(PING) => Ok(None),
        Some(RESTART_MODULE) => restart_module(runtime, stop_timeout, payload).await.map(|()| None),
        Some(GET_MODULE_LOGS) => get_module_logs(runtime, identity, payload).await.map(Some),
        _ => Err(MethodError::Argument(format!(
            "unknown command {name:?}, supported commands: {}",
            SUPPORTED.join(", ")
        ))),
    };
    match outcome {
        Ok(payload) => MethodAnswer { status: 200, payload },
        Err(error) => MethodAnswer { status: error.status(), payload: Some(json!({"message": error.to_string()})) },
    }
}

async fn get_module_logs(
    runtime: &dyn ModuleRuntime,
    identity: &AgentIdentity,
    payload: &[u8],
) -> Result<Value, MethodError> {
    let request = read_request(payload)?;
    logs::get(runtime, identity, &request, Timestamp::now()).await
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
