//! The JSON of enrolments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::cloud::enrollments::{Again, Attestation, Enrollment, Kind, Terms};
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_schemas::ids::DeviceId;
use serde_json::{Value, json};

use super::answer::ServiceError;
use super::shape;
use crate::client_certificate::is_certificate;
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
        Attestation::Signed { authorities } => {
            let mut certificates = json!({});
            for (name, authority) in ["primary", "secondary"].iter().zip(authorities) {
                let [sha1, sha256] = thumbprints(&BASE64.decode(authority).unwrap_or_default());
                certificates[*name] = json!({ "info": { "sha1Thumbprint": sha1, "sha256Thumbprint": sha256 } });
            }
            json!({ "type": "x509", "x509": { "signingCertificates": certificates } })
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
            let certificates = certificates(body, "clientCertificates")?;
            Ok(Attestation::Certificate { thumbprints: certificates.iter().flat_map(|der| thumbprints(der)).collect() })
        }
        (Some("x509"), Kind::Group) if body.pointer("/attestation/x509/caReferences/primary").is_some() => {
            Ok(Attestation::Authority)
        }
        (Some("x509"), Kind::Group) => {
            let certificates = certificates(body, "signingCertificates")?;
            Ok(Attestation::Signed { authorities: certificates.iter().map(|der| BASE64.encode(der)).collect() })
        }
        (Some("tpm"), _) => invalid("the simulated service has no attestation by TPM"),
        _ => invalid("attestation.type is neither symmetricKey nor x509"),
    }
}

/// One or two certificates, DER, from a member of an enrolment.
fn certificates(body: &Value, member: &str) -> Result<Vec<Vec<u8>>, ServiceError> {
    let texts = ["primary", "secondary"].map(|name| format!("/attestation/x509/{member}/{name}/certificate"));
    let texts = texts.iter().filter_map(|pointer| body.pointer(pointer).and_then(Value::as_str));
    let certificates = texts.map(certificate).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Err(ServiceError::invalid(format!("attestation.x509.{member}.primary is missing")));
    }
    Ok(certificates)
}

/// A certificate, DER: given as PEM, or as PEM or DER in base64, as clients differ.
fn certificate(text: &str) -> Result<Vec<u8>, ServiceError> {
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
    if is_certificate(&der) { Ok(der) } else { Err(ServiceError::invalid("what is given as a certificate is none")) }
}
