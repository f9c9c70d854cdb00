//! Direct methods: what a call asks for, its limits, and calls by the service.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use edgectl_hub::method::{MAX_PAYLOAD_BYTES, MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::access::{Holder, ServiceConnect};
use super::answer::ServiceError;
use super::body::JsonBody;
use super::service::Service;
use super::shape;

const DEFAULT_RESPONSE_SECONDS: i64 = 30;
const MAX_NAME_CHARACTERS: usize = 100;

/// Reads a call: `{"methodName", "payload", "responseTimeoutInSeconds", "connectTimeoutInSeconds"}`. Some tools send the
/// times as text. The error is for people.
pub fn read_request(body: &Value) -> Result<MethodRequest, String> {
    let name = body.get("methodName").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARACTERS {
        return Err(format!("methodName must have 1 to {MAX_NAME_CHARACTERS} characters"));
    }
    let response = seconds(body, "responseTimeoutInSeconds", DEFAULT_RESPONSE_SECONDS, 5)?;
    let connect = seconds(body, "connectTimeoutInSeconds", 0, 0)?;
    let payload = body.get("payload").map_or_else(Bytes::new, |payload| payload.to_string().into());
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(format!("the payload has {} bytes, the most is {MAX_PAYLOAD_BYTES}", payload.len()));
    }
    Ok(MethodRequest { name: name.to_owned(), payload, response_timeout: response, connect_timeout: connect })
}

fn seconds(body: &Value, name: &str, default: i64, least: i64) -> Result<Duration, String> {
    const MOST: i64 = 300;
    let number = match body.get(name) {
        None | Some(Value::Null) => Some(default),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let number = number.filter(|number| (least..=MOST).contains(number));
    let number = number.and_then(|number| u64::try_from(number).ok());
    number.map(Duration::from_secs).ok_or_else(|| format!("{name} must be from {least} to {MOST}"))
}

/// The answer to a call: `{"status", "payload"}`, with the payload as the client wrote it.
pub fn response(answer: &MethodResponse) -> Response {
    let text = String::from_utf8_lossy(&answer.payload);
    let payload = match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => text.into_owned(),
        Err(_) if text.is_empty() => "null".to_owned(),
        // Not JSON, which the client should have sent; handing the text on loses nothing.
        Err(_) => Value::String(text.into_owned()).to_string(),
    };
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    ([json], format!("{{\"status\":{},\"payload\":{payload}}}", answer.status)).into_response()
}

/// `POST /twins/{device}/methods`.
pub async fn call_device(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(device): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ServiceError> {
    call(&service, &Identity::device(shape::device_id(&device)?), &body).await
}

/// `POST /twins/{device}/modules/{module}/methods`.
pub async fn call_module(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path((device, module)): Path<(String, String)>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ServiceError> {
    call(&service, &shape::module_identity(&device, &module)?, &body).await
}

async fn call(service: &Service, identity: &Identity, body: &Value) -> Result<Response, ServiceError> {
    let request = read_request(body).map_err(ServiceError::invalid)?;
    let answer = service.hub.call(identity, request).await?;
    Ok(response(&answer))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_checked() {
        let request = read_request(&json!({ "methodName": "poke", "responseTimeoutInSeconds": "30" })).unwrap();
        assert_eq!((request.response_timeout, request.connect_timeout), (Duration::from_secs(30), Duration::ZERO));
        assert!(request.payload.is_empty());
        for wrong in [
            json!({}),
            json!({ "methodName": "" }),
            json!({ "methodName": "x".repeat(101) }),
            json!({ "methodName": "poke", "responseTimeoutInSeconds": 3 }),
            json!({ "methodName": "poke", "connectTimeoutInSeconds": 301 }),
            json!({ "methodName": "poke", "payload": "x".repeat(MAX_PAYLOAD_BYTES) }),
        ] {
            assert!(read_request(&wrong).is_err(), "{wrong:.80}");
        }
    }

    #[test]
    fn the_public_vectors_hold() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/methods.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("passed over: {} is not there", path.display());
            return;
        };
        let file: Value = serde_json::from_str(&text).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        let mut count = 0;
        for vector in vectors.iter().filter(|vector| vector["op"] == "validate_request") {
            let got = read_request(&vector["input"]);
            assert_eq!(json!(got.is_ok()), vector["expected"], "{vector:.200} {got:?}");
            count += 1;
        }
        for vector in vectors.iter().filter(|vector| vector["op"] == "parse_request") {
            let (got, expected) = (read_request(&vector["input"]).unwrap(), &vector["expected"]);
            assert_eq!(got.name, expected["methodName"], "{vector}");
            assert_eq!(String::from_utf8_lossy(&got.payload), expected["payload"].as_str().unwrap(), "{vector}");
            let seconds = [got.response_timeout, got.connect_timeout].map(|time| json!(time.as_secs()));
            assert_eq!(seconds, [&expected["responseTimeoutSecs"], &expected["connectTimeoutSecs"]].map(Clone::clone));
            count += 1;
        }
        assert!(count > 1);
    }
}
