//! `GetModuleLogs`: lines of modules as the answer of a method.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::log_line;
use super::log_request::{LogItem, LogRequest};
use super::method::{AgentIdentity, MethodError};
use crate::runtime::module_runtime::{LogLine, LogQuery, ModuleRuntime};

/// More bytes of logs than this fit no answer.
const MAX_BYTES: usize = 127_000;

/// Answers a request for logs: `[{id, payload}]`, or `payloadBytes` in base64 where it is compressed.
pub async fn get(
    runtime: &dyn ModuleRuntime,
    identity: &AgentIdentity,
    request: &Value,
    now: Timestamp,
) -> Result<Value, MethodError> {
    let request = LogRequest::read(request, now)?;
    let states = runtime.list().await?;
    let mut left = MAX_BYTES;
    let mut answers = Vec::new();
    for (module, item) in request.select(states.into_iter().map(|state| state.name)) {
        let payload = payload(runtime, identity, &module, item, request.is_json, (left, MAX_BYTES)).await?;
        left -= payload.len();
        answers.push(if request.is_gzip {
            json!({ "id": module, "payloadBytes": BASE64.encode(compressed(payload.as_bytes())?) })
        } else {
            json!({ "id": module, "payload": payload })
        });
    }
    Ok(Value::Array(answers))
}

/// The lines of a module that an item asks for, as one text. More bytes than are left of a limit are an error.
pub(super) async fn payload(
    runtime: &dyn ModuleRuntime,
    identity: &AgentIdentity,
    module: &str,
    item: &LogItem,
    is_json: bool,
    (left, limit): (usize, usize),
) -> Result<String, MethodError> {
    let query = LogQuery { tail: item.tail, since: item.since, until: item.until, follow: false };
    let mut lines = runtime.logs(module, query).await?;
    let mut payload = String::new();
    while let Some(line) = lines.recv().await {
        let Some(text) = written(identity, module, item, is_json, &line) else { continue };
        if !payload.is_empty() {
            payload.push_str(if is_json { "," } else { "\n" });
        }
        payload.push_str(&text);
        if payload.len() + 2 > left {
            return Err(MethodError::TooMuch { limit });
        }
    }
    Ok(if is_json { format!("[{payload}]") } else { payload })
}

/// A line as it stands in the answer; none if it is not asked for.
fn written(identity: &AgentIdentity, module: &str, item: &LogItem, is_json: bool, line: &LogLine) -> Option<String> {
    let parsed = log_line::parse(&line.text);
    let is_wanted = item.level.is_none_or(|level| level == parsed.level)
        && item.pattern.as_ref().is_none_or(|pattern| pattern.is_match(parsed.text));
    if !is_wanted || !is_json {
        return is_wanted.then(|| line.text.clone());
    }
    let object = json!({
        "iothub": identity.hub, "device": identity.device, "id": module, "stream": line.stream.as_str(),
        "loglevel": parsed.level, "text": parsed.text,
        "timestamp": parsed.timestamp.map_or_else(|| line.at.to_string(), str::to_owned),
    });
    Some(object.to_string())
}

pub(super) fn compressed(bytes: &[u8]) -> Result<Vec<u8>, MethodError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|error| MethodError::Failed(error.to_string()))
}
