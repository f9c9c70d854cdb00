//! The JSON of enrolments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::cloud::enrollments::{Again, Attestation, Enrollment, Kind, Terms};
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::ids::DeviceId;
use serde_json::{Value, json};

use super::answer::ServiceError;
use super::shape;
use crate::thumbprint::thumbprints;

/// An enrolment as the service shows it. Keys are shown to who made it, and to who asks for them.
pub fn enrollment(hub: &CloudHub, enrollment: &Enrollment, kind: Kind, with_keys: bool) -> Value {
    let terms = &enrollment.terms;
    let mut shape = json!({
        "attestation": attestation(&terms.attestation, with_keys),
        "capabilities": { "iotEdge": terms.edge },
        "etag": BASE64.encode(enrollment.etag.to_string()),
        "provisioningStatus": if terms.enabled { "enabled" } else { "disabled" },
        "reprovisionPolicy": {
            "updateHubAssignment": terms.again != Again::Stay,
            "migrateDeviceData": terms.again == Again::KeepTwin,
        },
        "createdDateTimeUtc": enrollment.created,
        "lastUpdatedDateTimeUtc": enrollment.updated,
        "allocationPolicy": "hashed",
        "iotHubs": [hub.host()],
    });
    if !terms.initial_twin.is_null() {
        shape["initialTwin"] = terms.initial_twin.clone();
    }
    match kind {
        Kind::Individual => {
            shape["registrationId"] = json!(enrollment.name);
            shape["deviceId"] = json!(terms.device);
            shape["registrationState"] = json!(hub.provisioned(&enrollment.name));
        }
        Kind::Group => shape["enrollmentGroupId"] = json!(enrollment.name),
    }
    shape
}

/// How devices prove that they belong to it.
pub fn attestation(attestation: &Attestation, with_keys: bool) -> Value {
    match attestation {
        Attestation::SymmetricKey { primary_key, secondary_key } if with_keys => {
            let keys = json!({ "primaryKey": primary_key, "secondaryKey": secondary_key });
            json!({ "type": "symmetricKey", "symmetricKey": keys })
        }
        Attestation::SymmetricKey { .. } => json!({ "type": "symmetricKey" }),
        Attestation::Certificate { thumbprints } => {
            let info = |pair: &[String]| json!({ "info": { "sha1Thumbprint": pair.first(), "sha256Thumbprint": pair.get(1) } });
            let mut certificates = json!({});
            for (name, pair) in ["primary", "secondary"].iter().zip(thumbprints.chunks(2)) {
                certificates[*name] = info(pair);
            }
            json!({ "type": "x509", "x509": { "clientCertificates": certificates } })
        }
        Attestation::Authority => json!({ "type": "x509", "x509": { "caReferences": { "primary": "device-ca" } } }),
    }
}

/// Reads what an enrolment is to say.
pub fn terms(body: &Value, kind: Kind) -> Result<Terms, ServiceError> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let flag = |pointer: &str, otherwise: bool| body.pointer(pointer).and_then(Value::as_bool).unwrap_or(otherwise);
    let enabled = match text("/provisioningStatus") {
        None | Some("enabled") => true,
        Some("disabled") => false,
        Some(other) => return Err(ServiceError::invalid(format!("provisioningStatus {other:?} does not exist"))),
    };
    if let Some(policy @ "custom") = text("/allocationPolicy") {
        return Err(ServiceError::invalid(format!("there is one hub alone, so there is no {policy} allocation")));
    }
    let device = text("/deviceId").map(shape::device_id).transpose()?;
    Ok(Terms {
        device: device.filter(|_: &DeviceId| kind == Kind::Individual),
        attestation: wanted_attestation(body, kind)?,
        enabled,
        edge: flag("/capabilities/iotEdge", false),
        initial_twin: body.get("initialTwin").cloned().unwrap_or_default(),
        again: match flag("/reprovisionPolicy/migrateDeviceData", true) {
            _ if !flag("/reprovisionPolicy/updateHubAssignment", true) => Again::Stay,
            true => Again::KeepTwin,
            false => Again::ResetTwin,
        },
    })
}

fn wanted_attestation(body: &Value, kind: Kind) -> Result<Attestation, ServiceError> {
    let key = |name: &str| body.pointer(&format!("/attestation/symmetricKey/{name}")).and_then(Value::as_str);
    let invalid = |text: &str| Err(ServiceError::invalid(text));
    match (body.pointer("/attestation/type").and_then(Value::as_str), kind) {
        (Some("symmetricKey"), _) => {
            let key = |name| key(name).unwrap_or_default().to_owned();
            Ok(Attestation::SymmetricKey { primary_key: key("primaryKey"), secondary_key: key("secondaryKey") })
        }
        (Some("x509"), Kind::Individual) => {
            let mut thumbprints = Vec::new();
            for name in ["primary", "secondary"] {
                let pointer = format!("/attestation/x509/clientCertificates/{name}/certificate");
                if let Some(text) = body.pointer(&pointer).and_then(Value::as_str) {
                    thumbprints.extend(thumbprints_of(text)?);
                }
            }
            if thumbprints.is_empty() {
                return invalid("attestation.x509.clientCertificates.primary is missing");
            }
            Ok(Attestation::Certificate { thumbprints })
        }
        (Some("x509"), Kind::Group) if body.pointer("/attestation/x509/caReferences/primary").is_some() => {
            Ok(Attestation::Authority)
        }
        (Some("x509"), Kind::Group) => invalid(
            "the simulated service trusts one authority, that of the simulated device: name it with x509.caReferences",
        ),
        (Some("tpm"), _) => invalid("the simulated service has no attestation by TPM"),
        _ => invalid("attestation.type is neither symmetricKey nor x509"),
    }
}

/// The SHA-1 and SHA-256 digests of a certificate: PEM, or PEM or DER in base64, as clients differ.
fn thumbprints_of(text: &str) -> Result<[String; 2], ServiceError> {
    let decoded = |text: &str| {
        let kept: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        BASE64.decode(kept).map_err(|_| ServiceError::invalid("the certificate is neither PEM nor base64"))
    };
    let inner = |pem: &str| -> String { pem.lines().filter(|line| !line.starts_with("-----")).collect() };
    let der = if text.trim_start().starts_with("-----") {
        decoded(&inner(text))?
    } else {
        match String::from_utf8(decoded(text)?) {
            Ok(pem) => decoded(&inner(&pem))?,
            Err(der) => der.into_bytes(),
        }
    };
    Ok(thumbprints(&der))
}
