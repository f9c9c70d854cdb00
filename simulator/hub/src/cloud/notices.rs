//! What the hub itself tells of devices and modules, among their messages: changed twins, new and removed identities,
//! connections.
//!
//! Words and bodies are those of the service, whose endpoint has them where a route brings them there; here they always are.

use edgectl_schemas::ids::Identity;
use serde_json::{Map, Value, json};

use super::hub::CloudHub;
use super::twins::{Change, Twin};
use crate::message::{Message, system};

/// What the notices of changed twins are called.
const TWIN_CHANGES: &str = "twinChangeEvents";
/// What those of identities are called.
const LIFE_CYCLE: &str = "deviceLifecycleEvents";
/// What those of connections are called.
const CONNECTIONS: &str = "deviceConnectionStateEvents";

impl CloudHub {
    /// A client reported: what it said, nulls included.
    pub(super) fn notice_report(&self, identity: &Identity, patch: &Value, twin_version: u64, version: u64) {
        let mut reported = patch.as_object().cloned().unwrap_or_default();
        reported.insert("$version".into(), json!(version));
        let body = json!({ "version": twin_version, "properties": { "reported": reported } });
        self.notice(TWIN_CHANGES, "updateTwin", identity, &body);
    }

    /// A service changed a twin.
    pub(super) fn notice_change(&self, identity: &Identity, change: &Change, twin: &Twin) {
        let mut body = Map::new();
        body.insert("version".into(), json!(twin.version));
        if let Some(tags) = &change.tags {
            body.insert("tags".into(), tags.clone());
        }
        if let Some(desired) = &change.desired {
            let mut desired = desired.as_object().cloned().unwrap_or_default();
            desired.insert("$version".into(), json!(twin.desired.version));
            body.insert("properties".into(), json!({ "desired": desired }));
        }
        let operation = if change.replace { "replaceTwin" } else { "updateTwin" };
        self.notice(TWIN_CHANGES, operation, identity, &Value::Object(body));
    }

    /// An identity was made or removed.
    pub(super) fn notice_life(&self, identity: &Identity, is_made: bool) {
        let operation = match (is_made, identity.module.is_some()) {
            (true, false) => "createDeviceIdentity",
            (true, true) => "createModuleIdentity",
            (false, false) => "deleteDeviceIdentity",
            (false, true) => "deleteModuleIdentity",
        };
        let mut body = json!({ "deviceId": identity.device });
        if let Some(module) = &identity.module {
            body["moduleId"] = json!(module);
        }
        self.notice(LIFE_CYCLE, operation, identity, &body);
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
        self.notice(CONNECTIONS, operation, identity, &body);
    }

    fn notice(&self, source: &str, operation: &str, identity: &Identity, body: &Value) {
        let now = self.clock.now_text();
        let mut message = Message::new(body.to_string());
        message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
        message.system.set(system::CONTENT_ENCODING, "utf-8".to_owned());
        let properties = &mut message.properties;
        properties.set("hubName", self.host().to_owned());
        properties.set("deviceId", identity.device.to_string());
        if let Some(module) = &identity.module {
            properties.set("moduleId", module.to_string());
        }
        properties.set("opType", operation.to_owned());
        properties.set("operationTimestamp", now.clone());
        if let Err(error) = self.events.append_of(Some(source), identity, &[message], &now) {
            // What happened has happened all the same.
            tracing::error!(%error, operation, "a notice cannot be kept");
        }
    }
}
