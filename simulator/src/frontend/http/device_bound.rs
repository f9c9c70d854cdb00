//! Messages to devices, as devices fetch and settle them over HTTPS.
//!
//! A message that was fetched belongs to who fetched it until it is settled or its lock ends; its `ETag` names the lock.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use edgectl_hub::cloud::hub::{CloudHub, SendError};
use edgectl_hub::gateway::{Gateway as _, Refusal, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_schemas::ids::{DeviceId, Identity};
use serde::Deserialize;

use super::access::credential;
use super::answer::ServiceError;
use super::device::{APPLICATION_PREFIX, SYSTEM_HEADERS};
use super::serve::PeerCertificate;
use super::shape;

/// Headers of system properties that the hub sets, beside those that senders may.
const HUB_HEADERS: [(&str, &str); 3] = [
    ("iothub-sequencenumber", system::SEQUENCE_NUMBER),
    ("iothub-enqueuedtime", system::ENQUEUED_TIME),
    ("iothub-deliverycount", system::DELIVERY_COUNT),
];

type Answer = Result<Response, ServiceError>;
type Peer = Option<Extension<PeerCertificate>>;

/// Whether a message that is not abandoned is rejected; it is enough that the word is there.
#[derive(Debug, Deserialize)]
struct Rejected {
    reject: Option<String>,
}

/// The paths for devices. One of the tools writes the last word in another way.
pub fn router(hub: Arc<CloudHub>) -> Router {
    let mut router = Router::new();
    for word in ["devicebound", "deviceBound"] {
        let path = format!("/devices/{{device}}/messages/{word}");
        router = router
            .route(&path, get(fetch))
            .route(&format!("{path}/{{lock}}"), delete(complete))
            .route(&format!("{path}/{{lock}}/abandon"), post(abandon));
    }
    router.with_state(hub)
}

/// `GET /devices/{device}/messages/devicebound`: the next message, or 204 if there is none.
async fn fetch(State(hub): State<Arc<CloudHub>>, Path(device): Path<String>, peer: Peer, headers: HeaderMap) -> Answer {
    let device = proved(&hub, &device, peer, &headers).await?;
    match hub.messages().receive(&device).map_err(SendError::from)? {
        Some(received) => Ok((headers_of(&received.message, &received.lock), received.message.body).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// `DELETE /devices/{device}/messages/devicebound/{lock}[?reject]`.
async fn complete(
    State(hub): State<Arc<CloudHub>>,
    Path((device, lock)): Path<(String, String)>,
    Query(rejected): Query<Rejected>,
    peer: Peer,
    headers: HeaderMap,
) -> Answer {
    let settlement = if rejected.reject.is_some() { Settlement::Reject } else { Settlement::Complete };
    let device = proved(&hub, &device, peer, &headers).await?;
    settle(&hub, &device, &lock, settlement)
}

/// `POST /devices/{device}/messages/devicebound/{lock}/abandon`.
async fn abandon(
    State(hub): State<Arc<CloudHub>>,
    Path((device, lock)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
    _body: Bytes,
) -> Answer {
    let device = proved(&hub, &device, peer, &headers).await?;
    settle(&hub, &device, &lock, Settlement::Abandon)
}

async fn proved(hub: &CloudHub, device: &str, peer: Peer, headers: &HeaderMap) -> Result<DeviceId, ServiceError> {
    let device = shape::device_id(device)?;
    hub.authenticate(&Identity::device(device.clone()), &credential(peer, headers)?).await?;
    Ok(device)
}

fn settle(hub: &CloudHub, device: &DeviceId, lock: &str, settlement: Settlement) -> Answer {
    match hub.messages().settle(device, lock, settlement) {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(Refusal::NotFound(_)) => Err(ServiceError::lock_lost()),
        Err(refusal) => Err(refusal.into()),
    }
}

/// What a message carries beside its body. A property that HTTP cannot carry is left out.
fn headers_of(message: &Message, lock: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            headers.insert(name, value);
        }
    };
    put(header::ETAG.as_str(), &format!("\"{lock}\""));
    for (name, property) in SYSTEM_HEADERS.iter().chain(&HUB_HEADERS) {
        if let Some(value) = message.system.get(property) {
            put(name, value);
        }
    }
    for (name, value) in message.properties.iter() {
        put(&format!("{APPLICATION_PREFIX}{name}"), value.unwrap_or_default());
    }
    headers
}
