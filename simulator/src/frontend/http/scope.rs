//! What an edge hub asks of the hub above it: who is in its scope.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use edgectl_hub::auth::{Authentication, IdentityRecord};
use edgectl_hub::cloud::registry::Registration;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::{Value, json};

use super::access::require_device;
use super::answer::ServiceError;
use super::service::Service;
use super::shape;

/// `POST /devices/{actor}/modules/$edgeHub/devicesAndModulesInTargetDeviceScope`: all in one answer.
pub async fn identities_in_scope(
    State(service): State<Service>,
    Path(actor): Path<String>,
    headers: HeaderMap,
    Json(_body): Json<Value>,
) -> Result<Json<Value>, ServiceError> {
    let actor = shape::device_id(&actor)?;
    require_device(&service.hub, &service.key, &headers, &actor).await?;
    let members = service.hub.registry().in_scope_of(&actor)?;
    let (devices, modules): (Vec<_>, Vec<_>) =
        members.iter().partition(|member| member.record.identity.module.is_none());
    Ok(Json(json!({
        "devices": devices.into_iter().map(device).collect::<Vec<_>>(),
        "modules": modules.into_iter().map(module).collect::<Vec<_>>(),
        "continuationLink": null,
    })))
}

fn device(item: &Registration) -> Value {
    json!({
        "deviceId": item.record.identity.device,
        "generationId": item.record.generation_id,
        "status": if item.record.enabled { "enabled" } else { "disabled" },
        "authentication": shape::authentication(&item.record.authentication),
        "capabilities": { "iotEdge": item.edge },
        "deviceScope": item.scope,
        "parentScopes": [],
    })
}

fn module(item: &Registration) -> Value {
    json!({
        "moduleId": item.record.identity.module,
        "deviceId": item.record.identity.device,
        "generationId": item.record.generation_id,
        "authentication": shape::authentication(&item.record.authentication),
    })
}

/// Reads such an answer. Entries that are not understood are left out: their owners cannot connect.
pub fn read_identities(answer: &Value) -> Vec<IdentityRecord> {
    let items = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let records = items("devices").into_iter().chain(items("modules"));
    records.filter_map(|item| read_identity(&item)).collect()
}

/// Reads one registration of a device or module, in this answer or from the registry.
pub fn read_identity(item: &Value) -> Option<IdentityRecord> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let device = DeviceId::new(&text("/deviceId")?).ok()?;
    let identity = match text("/moduleId") {
        Some(module) => Identity::module(device, ModuleId::new(&module).ok()?),
        None => Identity::device(device),
    };
    let authentication = match text("/authentication/type").as_deref() {
        Some("sas") => Authentication::Sas {
            primary_key: text("/authentication/symmetricKey/primaryKey")?,
            secondary_key: text("/authentication/symmetricKey/secondaryKey")?,
        },
        Some("selfSigned") => Authentication::SelfSigned {
            primary_thumbprint: text("/authentication/x509Thumbprint/primaryThumbprint").unwrap_or_default(),
            secondary_thumbprint: text("/authentication/x509Thumbprint/secondaryThumbprint").unwrap_or_default(),
        },
        Some("certificateAuthority") => Authentication::CertificateAuthority,
        _ => Authentication::None,
    };
    let enabled = text("/status").is_none_or(|status| status == "enabled");
    Some(IdentityRecord { identity, generation_id: text("/generationId")?, enabled, authentication })
}
