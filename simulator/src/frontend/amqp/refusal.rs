//! What a hub's refusal becomes in AMQP. Every kind has its place here, once.

use edgectl_hub::gateway::{CloseReason, Refusal};
use edgectl_wire::amqp::condition::{
    ARGUMENT, DETACH_FORCED, ErrorCondition, MESSAGE_SIZE, NOT_FOUND, STOLEN, TIMEOUT, UNAUTHORIZED,
};
use edgectl_wire::amqp::sasl::SaslCode;

/// Why a link ends or a message is rejected. The SDKs try again after what is forced, and not after the others.
pub fn condition(refusal: &Refusal) -> ErrorCondition {
    let condition = match refusal {
        Refusal::Unauthorized(_) => UNAUTHORIZED,
        Refusal::NotFound(_) | Refusal::NotConnected(_) => NOT_FOUND,
        Refusal::NoAnswer(_) => TIMEOUT,
        Refusal::TooLarge { .. } => MESSAGE_SIZE,
        Refusal::Invalid(_) => ARGUMENT,
        Refusal::Detached | Refusal::Unavailable(_) => DETACH_FORCED,
    };
    ErrorCondition::new(condition, refusal.to_string())
}

/// The status of an answer to a token. None where the link ends instead, because the SDKs take any status for a reason
/// not to try again.
pub fn token_status(refusal: &Refusal) -> Option<i32> {
    match refusal {
        Refusal::Unauthorized(_) | Refusal::NotFound(_) => Some(401),
        Refusal::Invalid(_) | Refusal::TooLarge { .. } => Some(400),
        Refusal::NotConnected(_) | Refusal::NoAnswer(_) | Refusal::Detached | Refusal::Unavailable(_) => None,
    }
}

/// How the security layer ends.
pub fn sasl_code(refusal: &Refusal) -> SaslCode {
    match refusal {
        Refusal::Unauthorized(_)
        | Refusal::NotFound(_)
        | Refusal::Invalid(_)
        | Refusal::TooLarge { .. }
        | Refusal::NotConnected(_)
        | Refusal::NoAnswer(_) => SaslCode::Authentication,
        Refusal::Detached | Refusal::Unavailable(_) => SaslCode::SystemTemporary,
    }
}

/// Why the hub ends the links of a client.
pub fn closing(reason: CloseReason) -> ErrorCondition {
    match reason {
        CloseReason::TakenOver => ErrorCondition::new(STOLEN, "another connection of the client took over"),
        CloseReason::Unauthorized => ErrorCondition::new(UNAUTHORIZED, "the client may not stay"),
        CloseReason::FellBehind => ErrorCondition::new(DETACH_FORCED, "the client takes nothing of what it is sent"),
        CloseReason::ShuttingDown => ErrorCondition::new(DETACH_FORCED, "the hub is shutting down"),
    }
}
