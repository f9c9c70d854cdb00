//! The JSON of the service: registrations, twins, and what is asked for.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_hub::auth::Authentication;
use edgectl_hub::clock::text_of;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::cloud::registry::{Condition, Registration, Wanted};
use edgectl_hub::cloud::twins::{Change, Twin};
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::{Map, Value, json};

use super::answer::ServiceError;

const NEVER: &str = "0001-01-01T00:00:00Z";

/// Reads a device identifier from a path.
pub fn device_id(text: &str) -> Result<DeviceId, ServiceError> {
    DeviceId::new(text).map_err(|error| ServiceError::invalid(format!("device {text:?}: {error}")))
}

/// Reads the identity of a module from a path.
pub fn module_identity(device: &str, module: &str) -> Result<Identity, ServiceError> {
    let id = ModuleId::new(module).map_err(|error| ServiceError::invalid(format!("module {module:?}: {error}")))?;
    Ok(Identity::module(device_id(device)?, id))
}

/// A registration as the service shows it. Its etag is base64 text.
pub fn registration(hub: &CloudHub, registration: &Registration) -> Value {
    let identity = &registration.record.identity;
    let activity = hub.activity(identity);
    let mut shape = json!({
        "deviceId": identity.device,
        "generationId": registration.record.generation_id,
        "etag": etag_text(registration.etag),
        "connectionState": if hub.is_connected(identity) { "Connected" } else { "Disconnected" },
        "connectionStateUpdatedTime": time(activity.connection_ms),
        "lastActivityTime": time(activity.last_ms),
        "cloudToDeviceMessageCount": waiting(hub, identity),
        "authentication": authentication(&registration.record.authentication),
    });
    match &identity.module {
        Some(module) => {
            shape["moduleId"] = json!(module);
            shape["managedBy"] = json!(registration.managed_by);
        }
        None => {
            shape["status"] = json!(if registration.record.enabled { "enabled" } else { "disabled" });
            shape["statusReason"] = json!(registration.status_reason);
            shape["statusUpdatedTime"] = json!(registration.status_updated.as_deref().unwrap_or(NEVER));
            shape["capabilities"] = json!({ "iotEdge": registration.edge });
            shape["deviceScope"] = json!(registration.scope);
            shape["parentScopes"] = json!(registration.member().parents);
        }
    }
    shape
}

fn time(ms: Option<u64>) -> String {
    ms.map_or_else(|| NEVER.to_owned(), text_of)
}

/// Messages that wait for a device; modules get none.
fn waiting(hub: &CloudHub, identity: &Identity) -> usize {
    if identity.module.is_some() { 0 } else { hub.messages().count(&identity.device) }
}

/// How an identity proves itself.
pub fn authentication(authentication: &Authentication) -> Value {
    let (kind, keys, thumbprints) = match authentication {
        Authentication::Sas { primary_key, secondary_key } => {
            ("sas", json!({ "primaryKey": primary_key, "secondaryKey": secondary_key }), no_thumbprints())
        }
        Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint } => {
            let shown = |text: &String| if text.is_empty() { Value::Null } else { json!(text) };
            let (primary, secondary) = (shown(primary_thumbprint), shown(secondary_thumbprint));
            let thumbprints = json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary });
            ("selfSigned", no_keys(), thumbprints)
        }
        Authentication::CertificateAuthority => ("certificateAuthority", no_keys(), no_thumbprints()),
        Authentication::None => ("none", no_keys(), no_thumbprints()),
    };
    json!({ "symmetricKey": keys, "x509Thumbprint": thumbprints, "type": kind })
}

fn no_keys() -> Value {
    json!({ "primaryKey": null, "secondaryKey": null })
}

fn no_thumbprints() -> Value {
    json!({ "primaryThumbprint": null, "secondaryThumbprint": null })
}

/// Reads what is asked for when an identity is made or changed.
pub fn wanted(body: &Value) -> Result<Wanted, ServiceError> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let enabled = match text("/status").as_deref() {
        None => None,
        Some("enabled") => Some(true),
        Some("disabled") => Some(false),
        Some(other) => return Err(ServiceError::invalid(format!("status {other:?} is neither enabled nor disabled"))),
    };
    Ok(Wanted {
        enabled,
        authentication: wanted_authentication(body)?,
        edge: body.pointer("/capabilities/iotEdge").and_then(Value::as_bool),
        scope: text("/deviceScope"),
        parents: body
            .get("parentScopes")
            .and_then(Value::as_array)
            .map(|scopes| scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        managed_by: text("/managedBy"),
        status_reason: text("/statusReason"),
    })
}

/// The type is inferred from the content where it is missing.
fn wanted_authentication(body: &Value) -> Result<Option<Authentication>, ServiceError> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let primary_key = text("/authentication/symmetricKey/primaryKey");
    let primary_thumbprint = text("/authentication/x509Thumbprint/primaryThumbprint");
    let secondary_thumbprint = text("/authentication/x509Thumbprint/secondaryThumbprint");
    let kind = match text("/authentication/type").as_str() {
        "" if !(primary_thumbprint.is_empty() && secondary_thumbprint.is_empty()) => "selfSigned".to_owned(),
        "" if body.pointer("/authentication/symmetricKey").is_some() => "sas".to_owned(),
        other => other.to_owned(),
    };
    match kind.as_str() {
        "" => Ok(None),
        "sas" => {
            let secondary_key = text("/authentication/symmetricKey/secondaryKey");
            Ok(Some(Authentication::Sas { primary_key, secondary_key }))
        }
        "selfSigned" => Ok(Some(Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint })),
        "certificateAuthority" => Ok(Some(Authentication::CertificateAuthority)),
        "none" => Ok(Some(Authentication::None)),
        other => Err(ServiceError::invalid(format!("authentication type {other:?} does not exist"))),
    }
}

/// What `If-Match` asks for: a star, or an etag with or without quotes.
pub fn condition(headers: &HeaderMap) -> Option<Condition> {
    let text = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok())?;
    match text.trim().trim_matches('"') {
        "*" => Some(Condition::Present),
        text => Some(Condition::Etag(etag(text))),
    }
}

/// An etag as the service writes it, without quotes.
pub fn etag_text(etag: u64) -> String {
    BASE64.encode(etag.to_string())
}

/// Reads an etag, without quotes. What no etag of ours can be is the etag of nothing that there is.
pub fn etag(text: &str) -> u64 {
    let bytes = BASE64.decode(text).ok();
    let number = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
    number.unwrap_or(u64::MAX)
}

/// The etag of a twin that `If-Match` asks for.
pub fn twin_etag(headers: &HeaderMap) -> Option<u64> {
    match condition(headers)? {
        Condition::Etag(etag) => Some(etag),
        Condition::Absent | Condition::Present => None,
    }
}

/// A twin as the service shows it.
pub fn twin(hub: &CloudHub, item: &Registration, twin: &Twin) -> Value {
    let identity = &item.record.identity;
    let authentication = authentication(&item.record.authentication);
    let mut shape = json!({
        "deviceId": identity.device,
        "etag": etag_text(twin.etag),
        "deviceEtag": etag_text(item.etag),
        "status": if item.record.enabled { "enabled" } else { "disabled" },
        "statusReason": item.status_reason,
        "statusUpdateTime": item.status_updated.as_deref().unwrap_or(NEVER),
        "connectionState": if hub.is_connected(identity) { "Connected" } else { "Disconnected" },
        "lastActivityTime": time(hub.activity(identity).last_ms),
        "cloudToDeviceMessageCount": waiting(hub, identity),
        "authenticationType": authentication["type"],
        "x509Thumbprint": authentication["x509Thumbprint"],
        "modelId": "",
        "version": twin.version,
        "tags": twin.tags,
        "properties": { "desired": twin.desired.for_service(), "reported": twin.reported.for_service() },
    });
    match &identity.module {
        Some(module) => shape["moduleId"] = json!(module),
        None => {
            shape["capabilities"] = json!({ "iotEdge": item.edge });
            shape["deviceScope"] = json!(item.scope);
            shape["parentScopes"] = json!(item.member().parents);
        }
    }
    shape
}

/// Reads a change of a twin. Reported properties in it are the client's and passed over.
pub fn change(body: &Value, replace: bool) -> Result<Change, ServiceError> {
    let Value::Object(_) = body else { return Err(ServiceError::invalid("a twin is an object")) };
    let properties = body.get("properties").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    Ok(Change { tags: body.get("tags").cloned(), desired: properties.get("desired").cloned(), replace })
}
