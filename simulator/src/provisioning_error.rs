//! The errors of the provisioning service, as devices and those who manage enrolments are told them.

use edgectl_hub::provisioning::ProvisioningRefusal;
use serde_json::{Value, json};

/// The status of a refusal and its body.
pub fn of(refusal: &ProvisioningRefusal) -> (u16, Value) {
    let code = match refusal {
        ProvisioningRefusal::Unauthorized => 401_002,
        ProvisioningRefusal::NotFound => 404_202,
        ProvisioningRefusal::Invalid(_) => 400_004,
        ProvisioningRefusal::Unavailable(_) => 500_000,
    };
    body(code, &refusal.to_string())
}

/// The status and the body of an error. The status is the first three digits of the code.
pub fn body(code: u32, message: &str) -> (u16, Value) {
    let body = json!({
        "errorCode": code,
        "trackingId": uuid::Uuid::new_v4().to_string(),
        "message": message,
        "timestampUtc": jiff::Timestamp::now().to_string(),
    });
    (u16::try_from(code / 1000).unwrap_or(500), body)
}
