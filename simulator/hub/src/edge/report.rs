//! What the edge hub reports of itself in the twin of `$edgeHub`.

use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas;
use serde_json::{Value, json};

/// What was last reported.
#[derive(Debug, Default)]
pub struct HubReport {
    version: Option<u64>,
    refused: Option<String>,
}

impl HubReport {
    /// The hub looked at desired properties of this version. Returns the patch to report.
    pub fn configured(&mut self, version: u64, refused: Option<String>) -> Value {
        let status = match &refused {
            None => json!({ "code": 200, "description": "" }),
            Some(reason) => {
                json!({ "code": 400, "description": format!("Error while parsing desired properties - {reason}") })
            }
        };
        (self.version, self.refused) = (Some(version), refused);
        json!({
            "schemaVersion": "1.0",
            "version": { "version": env!("CARGO_PKG_VERSION"), "build": "edgectl", "commit": "" },
            "lastDesiredVersion": version,
            "lastDesiredStatus": status,
        })
    }

    /// A client connected or went away. Leaf devices that go away are removed; modules stay, disconnected.
    pub fn client(identity: &Identity, connected: bool, time: &str) -> Value {
        // The key is encoded like a URI component, and dots as well, since twins do not allow them.
        let key = sas::encode(&identity.to_string()).replace('.', "%2E");
        let client = match (connected, &identity.module) {
            (true, _) => json!({ "status": "Connected", "lastConnectedTimeUtc": time }),
            (false, Some(_)) => json!({ "status": "Disconnected", "lastDisconnectedTimeUtc": time }),
            (false, None) => Value::Null,
        };
        json!({ "clients": { key: client } })
    }

    /// The version last looked at.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Why it was refused, if it was.
    pub fn refused(&self) -> Option<String> {
        self.refused.clone()
    }
}
