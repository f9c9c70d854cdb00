//! The JSON in which hubs tell each other who is in a scope.

use edgectl_hub::auth::{Authentication, IdentityRecord};
use edgectl_hub::family::Member;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::{Value, json};

use super::shape;

/// Members of a scope, all in one answer.
pub fn members(members: &[Member]) -> Value {
    let (devices, modules): (Vec<_>, Vec<_>) =
        members.iter().partition(|member| member.record.identity.module.is_none());
    json!({
        "devices": devices.into_iter().map(device).collect::<Vec<_>>(),
        "modules": modules.into_iter().map(module).collect::<Vec<_>>(),
        "continuationLink": null,
    })
}

fn device(member: &Member) -> Value {
    json!({
        "deviceId": member.record.identity.device,
        "generationId": member.record.generation_id,
        "status": if member.record.enabled { "enabled" } else { "disabled" },
        "authentication": shape::authentication(&member.record.authentication),
        "capabilities": { "iotEdge": member.edge },
        "deviceScope": member.scope.as_ref().or(member.parents.first()),
        "parentScopes": member.parents,
    })
}

fn module(member: &Member) -> Value {
    json!({
        "moduleId": member.record.identity.module,
        "deviceId": member.record.identity.device,
        "generationId": member.record.generation_id,
        "authentication": shape::authentication(&member.record.authentication),
    })
}

/// Reads such an answer. Entries that are not understood are left out: their owners cannot connect.
pub fn read_members(answer: &Value) -> Vec<Member> {
    let items = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let members = items("devices").into_iter().chain(items("modules"));
    members.filter_map(|item| read_member(&item)).collect()
}

/// Reads one registration of a device or module, in this answer or from the registry.
pub fn read_member(item: &Value) -> Option<Member> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let edge = item.pointer("/capabilities/iotEdge").and_then(Value::as_bool).unwrap_or(false);
    let named: Vec<String> = item
        .get("parentScopes")
        .and_then(Value::as_array)
        .map(|scopes| scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let (scope, parents) = match (edge, text("/deviceScope")) {
        (true, scope) => (scope, named),
        (false, Some(parent)) if named.is_empty() => (None, vec![parent]),
        (false, _) => (None, named),
    };
    Some(Member { record: read_record(item)?, edge, scope, parents })
}

fn read_record(item: &Value) -> Option<IdentityRecord> {
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
