//! What devices and modules ask of a hub for themselves over HTTPS: to take their messages.
//!
//! One message is a body with headers; many are a JSON array of `{"body": base64, "properties": {header: value}}`. Names
//! of properties in headers have no case, which HTTP says, so they arrive in lower case; those in an array keep theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::gateway::{Gateway, Refusal};
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message, system};
use edgectl_schemas::ids::Identity;
use serde::Deserialize;

use super::access::credential;
use super::answer::ServiceError;
use super::serve::PeerCertificate;
use super::shape;

/// The content type of many messages.
const BATCH: &str = "application/vnd.microsoft.iothub.json";
/// What the names of the sender's own properties begin with.
pub const APPLICATION_PREFIX: &str = "iothub-app-";
/// Headers and the system properties they carry.
pub const SYSTEM_HEADERS: [(&str, &str); 11] = [
    ("iothub-messageid", system::MESSAGE_ID),
    ("iothub-correlationid", system::CORRELATION_ID),
    ("iothub-userid", system::USER_ID),
    ("iothub-to", system::TO),
    ("iothub-expiry", system::EXPIRY),
    ("iothub-ack", system::ACK),
    ("iothub-contenttype", system::CONTENT_TYPE),
    ("iothub-contentencoding", system::CONTENT_ENCODING),
    ("iothub-interface-id", system::INTERFACE_ID),
    ("iothub-creationtimeutc", system::CREATION_TIME),
    ("dt-subject", system::SUBJECT),
];

type Answer = Result<StatusCode, ServiceError>;
type Peer = Option<Extension<PeerCertificate>>;

/// The paths for devices.
pub fn router(gateway: Arc<dyn Gateway>) -> Router {
    Router::new()
        .route("/devices/{device}/messages/events", post(send_from_device))
        .route("/devices/{device}/modules/{module}/messages/events", post(send_from_module))
        // The connection has a limit of its own, and the hub one for messages.
        .layer(DefaultBodyLimit::disable())
        .with_state(gateway)
}

/// `POST /devices/{device}/messages/events`.
async fn send_from_device(
    State(gateway): State<Arc<dyn Gateway>>,
    Path(device): Path<String>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    send(gateway.as_ref(), &Identity::device(shape::device_id(&device)?), peer, &headers, body).await
}

/// `POST /devices/{device}/modules/{module}/messages/events`.
async fn send_from_module(
    State(gateway): State<Arc<dyn Gateway>>,
    Path((device, module)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    send(gateway.as_ref(), &shape::module_identity(&device, &module)?, peer, &headers, body).await
}

async fn send(gateway: &dyn Gateway, sender: &Identity, peer: Peer, headers: &HeaderMap, body: Bytes) -> Answer {
    let client = gateway.authenticate(sender, &credential(peer, headers)?).await?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let messages = if kind.eq_ignore_ascii_case(BATCH) {
        read_batch(&body)?
    } else {
        let named = headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
        vec![read_message(body, named)]
    };
    // The limit is for all that comes in one piece.
    let size = messages.iter().map(Message::size).sum();
    if size > MAX_MESSAGE_BYTES {
        return Err(Refusal::TooLarge { size, limit: MAX_MESSAGE_BYTES }.into());
    }
    gateway.send(&client, messages).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct BatchItem {
    body: String,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

fn read_batch(body: &[u8]) -> Result<Vec<Message>, ServiceError> {
    let items: Vec<BatchItem> =
        serde_json::from_slice(body).map_err(|error| ServiceError::invalid(format!("the messages: {error}")))?;
    let messages = items.into_iter().enumerate().map(|(number, item)| {
        let body = BASE64.decode(&item.body);
        let body = body.map_err(|error| ServiceError::invalid(format!("the body of message {number}: {error}")))?;
        Ok(read_message(body.into(), item.properties.into_iter()))
    });
    messages.collect()
}

fn read_message<N: AsRef<str>, V: Into<String>>(body: Bytes, named: impl Iterator<Item = (N, V)>) -> Message {
    let mut message = Message::new(body);
    for (name, value) in named {
        let name = name.as_ref();
        if let Some((_, property)) = SYSTEM_HEADERS.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)) {
            message.system.set(*property, value.into());
        } else if let Some((prefix, own)) = name.split_at_checked(APPLICATION_PREFIX.len())
            && prefix.eq_ignore_ascii_case(APPLICATION_PREFIX)
        {
            message.properties.set(own, value.into());
        }
    }
    message
}
