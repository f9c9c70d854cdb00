//! Which method is called, and what it answers. Names are taken in any case.

use std::time::Duration;

use edgectl_hub::clock::within;
use serde_json::{Value, json};

use super::log_request::member;
use super::logs;
use super::uploads::Uploads;
use crate::runtime::module_runtime::RuntimeError;

const PING: &str = "ping";
pub(crate) const RESTART_MODULE: &str = "RestartModule";
const GET_MODULE_LOGS: &str = "GetModuleLogs";
const UPLOAD_MODULE_LOGS: &str = "UploadModuleLogs";
const UPLOAD_SUPPORT_BUNDLE: &str = "UploadSupportBundle";
const GET_TASK_STATUS: &str = "GetTaskStatus";
const SUPPORTED: [&str; 6] =
    [PING, RESTART_MODULE, GET_MODULE_LOGS, UPLOAD_MODULE_LOGS, UPLOAD_SUPPORT_BUNDLE, GET_TASK_STATUS];
/// A method that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

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
    /// It took too long.
    #[error("the request was given up after {} seconds", REQUEST_TIMEOUT.as_secs())]
    TimedOut,
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
            Self::SchemaVersion(_) | Self::TooMuch { .. } | Self::TimedOut | Self::Failed(_) | Self::Runtime(_) => 500,
        }
    }
}

/// The name of a method as the agent writes it, if it has that method.
pub fn known_name(name: &str) -> Option<&'static str> {
    find(&SUPPORTED, name)
}

/// One of several names, in any case.
pub(super) fn find<'n>(names: &[&'n str], name: &str) -> Option<&'n str> {
    names.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// The methods of an agent, with what they act on.
pub struct Methods {
    /// Whose agent it is, its modules, and what is uploaded.
    pub uploads: Uploads,
    /// How long a module that is stopped may take to end.
    pub stop_timeout: Duration,
}

impl Methods {
    /// Does what a method asks for. The payload is JSON text and may be empty.
    pub async fn handle(&self, name: &str, payload: &[u8]) -> MethodAnswer {
        let outcome = within(self.uploads.tasks.clock(), REQUEST_TIMEOUT, self.dispatch(name, payload)).await;
        match outcome.unwrap_or(Err(MethodError::TimedOut)) {
            Ok(payload) => MethodAnswer { status: 200, payload },
            Err(error) => MethodAnswer { status: error.status(), payload: Some(json!({"message": error.to_string()})) },
        }
    }

    async fn dispatch(&self, name: &str, payload: &[u8]) -> Result<Option<Value>, MethodError> {
        let (uploads, now) = (&self.uploads, self.uploads.tasks.clock().timestamp());
        match known_name(name) {
            Some(PING) => Ok(None),
            Some(RESTART_MODULE) => self.restart_module(&read_request(payload)?).await.map(|()| None),
            Some(GET_MODULE_LOGS) => {
                let request = read_request(payload)?;
                logs::get(uploads.runtime.as_ref(), &uploads.identity, &request, now).await.map(Some)
            }
            Some(UPLOAD_MODULE_LOGS) => uploads.module_logs(&read_request(payload)?, now).await.map(Some),
            Some(UPLOAD_SUPPORT_BUNDLE) => uploads.support_bundle(&read_request(payload)?, now).map(Some),
            Some(GET_TASK_STATUS) => {
                let request = read_request(payload)?;
                Ok(Some(uploads.tasks.status(text(&request, "correlationId")?)))
            }
            _ => Err(MethodError::Argument(format!(
                "unknown command {name:?}, supported commands: {}",
                SUPPORTED.join(", ")
            ))),
        }
    }

    async fn restart_module(&self, request: &Value) -> Result<(), MethodError> {
        Ok(self.uploads.runtime.restart(text(request, "id")?, self.stop_timeout).await?)
    }
}

/// A member that must be there and must not be blank.
fn text<'r>(request: &'r Value, name: &str) -> Result<&'r str, MethodError> {
    match member(request, name).and_then(Value::as_str) {
        Some(text) if !text.trim().is_empty() => Ok(text),
        _ => Err(MethodError::Argument(format!("the request has no {name:?}"))),
    }
}

/// Reads a request and checks its schema version: the major version is 1.
fn read_request(payload: &[u8]) -> Result<Value, MethodError> {
    let request: Value = serde_json::from_slice(payload)
        .map_err(|error| MethodError::Argument(format!("the request is not JSON: {error}")))?;
    if !request.is_object() {
        return Err(MethodError::Argument("the request is not a JSON object".to_owned()));
    }
    match member(&request, "schemaVersion") {
        Some(Value::String(version)) if version.split('.').next() == Some("1") => Ok(request),
        Some(Value::String(version)) => Err(MethodError::SchemaVersion(version.clone())),
        _ => Err(MethodError::Argument("the request has no \"schemaVersion\"".to_owned())),
    }
}
