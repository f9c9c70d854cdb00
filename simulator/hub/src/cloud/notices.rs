//! What the hub itself tells of devices and modules, among their messages: changed twins, new and removed identities,
//! connections.
//!
//! Words and bodies are those of the service, whose endpoint has them where a route brings them there; here they always are.

use edgectl_schemas::ids::Identity;
use serde_json::{Map, Value, json};

use super::events::Arrival;
use super::hub::CloudHub;
use super::twins::{Change, Versions};
use crate::message::{Message, system};

/// What the notices of changed twins are called.
const TWIN_CHANGES: &str = "twinChangeEvents";
/// What those of identities are called.
const LIFE_CYCLE: &str = "deviceLifecycleEvents";
/// What those of connections are called.
const CONNECTIONS: &str = "deviceConnectionStateEvents";

impl CloudHub {
    /// A client reported: what it said, nulls included.
    pub(super) fn notice_report(&self, identity: &Identity, patch: &Value, versions: Versions) {
        let mut reported = patch.as_object().cloned().unwrap_or_default();
        reported.insert("$version".into(), json!(versions.reported));
        let body = json!({ "version": versions.twin, "properties": { "reported": reported } });
        self.notice(TWIN_CHANGES, [(identity, "updateTwin", body)]);
    }

    /// A service changed twins.
    pub(super) fn notice_changes<'a>(&self, changes: impl IntoIterator<Item = (&'a Identity, &'a Change, Versions)>) {
        let notices = changes.into_iter().map(|(identity, change, versions)| {
            let mut body = Map::new();
            body.insert("version".into(), json!(versions.twin));
            if let Some(tags) = &change.tags {
                body.insert("tags".into(), tags.clone());
            }
            if let Some(desired) = &change.desired {
                let mut desired = desired.as_object().cloned().unwrap_or_default();
                desired.insert("$version".into(), json!(versions.desired));
                body.insert("properties".into(), json!({ "desired": desired }));
            }
            let operation = if change.replace { "replaceTwin" } else { "updateTwin" };
            (identity, operation, Value::Object(body))
        });
        self.notice(TWIN_CHANGES, notices);
    }

    /// Identities were made or removed.
    pub(super) fn notice_lives<'a>(&self, are_made: bool, identities: impl IntoIterator<Item = &'a Identity>) {
        let notices = identities.into_iter().map(|identity| {
            let operation = match (are_made, identity.module.is_some()) {
                (true, false) => "createDeviceIdentity",
                (true, true) => "createModuleIdentity",
                (false, false) => "deleteDeviceIdentity",
                (false, true) => "deleteModuleIdentity",
            };
            let mut body = json!({ "deviceId": identity.device });
            if let Some(module) = &identity.module {
                body["moduleId"] = json!(module);
            }
            (identity, operation, body)
        });
        self.notice(LIFE_CYCLE, notices);
    }

    /// A client connected or left.
    pub(super) fn notice_connection(&self, identity: &Identity, is_connected: bool) {
        let operation = match (is_connected, identity.module.is_some()) {
            (true, false) => "deviceConnected",
            (true, true) => "moduleConnected",
            (false, false) => "deviceDisconnected",
            (false, true) => "moduleDisconnected",
        };
        // It grows with time, so that who sees two knows which is later.
        let body = json!({ "sequenceNumber": format!("{:032X}", self.clock.now_ms()) });
        self.notice(CONNECTIONS, [(identity, operation, body)]);
    }

    fn notice<'a>(&self, source: &'a str, notices: impl IntoIterator<Item = (&'a Identity, &'a str, Value)>) {
        let now = self.clock.now_text();
        let arrivals: Vec<Arrival> = notices
            .into_iter()
            .map(|(from, operation, body)| {
                let mut message = Message::new(body.to_string());
                message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
                message.system.set(system::CONTENT_ENCODING, "utf-8".to_owned());
                let properties = &mut message.properties;
                properties.set("hubName", self.host().to_owned());
                properties.set("deviceId", from.device.to_string());
                if let Some(module) = &from.module {
                    properties.set("moduleId", module.to_string());
                }
                properties.set("opType", operation.to_owned());
                properties.set("operationTimestamp", now.clone());
                Arrival { source: Some(source), from, message }
            })
            .collect();
        if let Err(error) = self.events.append(&arrivals, &now) {
            // What happened has happened all the same.
            tracing::error!(%error, source, "notices cannot be kept");
        }
    }
}
