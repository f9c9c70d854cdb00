//! What a hub's refusal becomes in MQTT. Every kind has its place here, once.

use edgectl_hub::gateway::Refusal;
use edgectl_wire::mqtt::connect::ConnectReturnCode;

/// How CONNECT is answered. Code 5 ends an SDK's tries for good, so only what will not pass gets it.
pub fn connect_code(refusal: &Refusal) -> ConnectReturnCode {
    match refusal {
        Refusal::Unauthorized(_)
        | Refusal::NotFound(_)
        | Refusal::Invalid(_)
        | Refusal::TooLarge { .. }
        | Refusal::NotConnected(_)
        | Refusal::NoAnswer(_) => ConnectReturnCode::NotAuthorized,
        Refusal::Detached | Refusal::Unavailable(_) => ConnectReturnCode::ServerUnavailable,
    }
}
