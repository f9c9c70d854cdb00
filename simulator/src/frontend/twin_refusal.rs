//! What a hub's refusal becomes in an answer about a twin, in every protocol. Every kind has its place here, once.

use edgectl_hub::gateway::Refusal;
use serde_json::{Value, json};

/// The status of an answer about the twin.
pub fn twin_status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Invalid(_) => 400,
        Refusal::TooLarge { .. } => 413,
        Refusal::Unauthorized(_) => 401,
        Refusal::NotFound(_) => 404,
        Refusal::NotConnected(_) | Refusal::NoAnswer(_) | Refusal::Detached | Refusal::Unavailable(_) => 500,
    }
}

/// The body of an answer about the twin: the Node SDK sees a failure only by the member `errorCode`.
pub fn twin_body(refusal: &Refusal, time: &str) -> Value {
    json!({
        "errorCode": twin_status(refusal),
        "trackingId": uuid::Uuid::new_v4().to_string(),
        "message": refusal.to_string(),
        "timestampUtc": time,
    })
}
