//! Messages that the service sends to devices.
//!
//! The body is the one in which devices send many messages over HTTP: `[{"body": base64, "properties": {…}}]`, where
//! `iothub-app-NAME` is a property of the application and the other names are the system's.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::cloud::registry::RegistryError;
use edgectl_hub::message::{Message, system};
use edgectl_schemas::ids::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::{Holder, ServiceConnect};
use super::answer::ServiceError;
use super::body::JsonBody;
use super::service::Service;
use super::shape;

/// Names in HTTP, and those that routes use.
const SYSTEM: [(&str, &str); 8] = [
    ("iothub-messageid", system::MESSAGE_ID),
    ("iothub-correlationid", system::CORRELATION_ID),
    ("iothub-userid", system::USER_ID),
    ("iothub-to", system::TO),
    ("iothub-expiry", system::EXPIRY),
    ("iothub-ack", system::ACK),
    ("iothub-contenttype", system::CONTENT_TYPE),
    ("iothub-contentencoding", system::CONTENT_ENCODING),
];
/// What stands before the names of the application's properties.
const APPLICATION: &str = "iothub-app-";

/// A message in the body of a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BodyMessage {
    body: String,
    #[serde(default)]
    properties: serde_json::Map<String, Value>,
}

impl BodyMessage {
    /// A message as it stands in a body.
    pub fn write(message: &Message) -> Self {
        let application = message.properties.iter().map(|(name, value)| (format!("{APPLICATION}{name}"), json!(value)));
        let system =
            SYSTEM.iter().filter_map(|(short, name)| Some(((*short).to_owned(), json!(message.system.get(name)?))));
        Self { body: BASE64.encode(&message.body), properties: application.chain(system).collect() }
    }

    fn read(self) -> Result<Message, ServiceError> {
        let body = BASE64.decode(&self.body).map_err(|error| ServiceError::invalid(format!("body: {error}")))?;
        let mut message = Message::new(body);
        for (name, value) in self.properties {
            let value = value.as_str().map(str::to_owned);
            if let Some(name) = name.strip_prefix(APPLICATION) {
                message.properties.set(name, value);
            } else if let Some((_, system)) = SYSTEM.iter().find(|(short, _)| name.eq_ignore_ascii_case(short)) {
                message.system.set(*system, value);
            } else {
                return Err(ServiceError::invalid(format!("property {name:?} is neither the application's nor known")));
            }
        }
        Ok(message)
    }
}

/// `POST /devices/{device}/messages/devicebound`.
pub async fn send(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(device): Path<String>,
    JsonBody(messages): JsonBody<Vec<BodyMessage>>,
) -> Result<StatusCode, ServiceError> {
    let device = shape::device_id(&device)?;
    let messages = messages.into_iter().map(BodyMessage::read).collect::<Result<Vec<_>, _>>()?;
    for message in messages {
        service.hub.send_to_device(&device, message)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /devices/{device}/commands`: removes what waits for a device.
pub async fn purge(
    _: Holder<ServiceConnect>,
    State(service): State<Service>,
    Path(device): Path<String>,
) -> Result<Json<Value>, ServiceError> {
    let device = shape::device_id(&device)?;
    service.hub.registry().require(&Identity::device(device.clone()))?;
    let purged = service.hub.messages().purge(&device).map_err(RegistryError::from)?;
    Ok(Json(json!({ "totalMessagesPurged": purged, "deviceId": device, "moduleId": null })))
}
