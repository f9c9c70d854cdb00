//! A message as people write it, and as routes see it.

use std::collections::HashMap;

use base64::Engine as _;
use edgectl_schemas::route::message::{Lookup, MessageView};
use edgectl_schemas::route::source::DEVICE_MESSAGES;
use edgectl_simulator::trail::Trace;
use serde::Deserialize;
use serde_json::Value;

/// `{"body" or "bodyBase64", "properties", "systemProperties", "source"}`; what is null is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WrittenMessage {
    body: Option<Value>,
    body_base64: Option<String>,
    properties: Option<HashMap<String, Value>>,
    system_properties: Option<HashMap<String, Value>>,
    source: Option<String>,
}

/// A message that routes can look at.
#[derive(Debug, Default)]
pub struct Message {
    source: String,
    properties: HashMap<String, Option<String>>,
    system_properties: HashMap<String, Option<String>>,
    body: Vec<u8>,
}

impl TryFrom<WrittenMessage> for Message {
    type Error = String;

    fn try_from(written: WrittenMessage) -> Result<Self, String> {
        let body = match (written.body, written.body_base64) {
            (None | Some(Value::Null), None) => Vec::new(),
            (None | Some(Value::Null), Some(encoded)) => base64::engine::general_purpose::STANDARD
                .decode(encoded.trim())
                .map_err(|error| format!("bodyBase64: {error}"))?,
            (Some(_), Some(_)) => return Err("a message has `body` or `bodyBase64`, not both".to_owned()),
            (Some(Value::String(text)), None) => text.into_bytes(),
            // JSON that was not put into a string is meant as it stands.
            (Some(other), None) => other.to_string().into_bytes(),
        };
        Ok(Self {
            source: written.source.unwrap_or_else(|| DEVICE_MESSAGES.to_owned()),
            properties: bag(written.properties),
            system_properties: bag(written.system_properties),
            body,
        })
    }
}

impl Message {
    /// A message that a hub took.
    pub fn traced(trace: &Trace) -> Self {
        let bag = |bag: &[(String, Option<String>)]| {
            bag.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
        };
        Self {
            source: trace.source.clone(),
            properties: bag(&trace.properties),
            system_properties: bag(&trace.system_properties),
            body: trace.body.clone(),
        }
    }
}

/// Names are found in any case, so they are kept in one.
fn bag(written: Option<HashMap<String, Value>>) -> HashMap<String, Option<String>> {
    let text = |value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    written.unwrap_or_default().into_iter().map(|(name, value)| (name.to_lowercase(), text(value))).collect()
}

fn lookup<'m>(bag: &'m HashMap<String, Option<String>>, name: &str) -> Lookup<'m> {
    match bag.get(&name.to_lowercase()) {
        None => Lookup::Absent,
        Some(None) => Lookup::Null,
        Some(Some(value)) => Lookup::Value(value),
    }
}

impl MessageView for Message {
    fn source(&self) -> &str {
        &self.source
    }

    fn property(&self, name: &str) -> Lookup<'_> {
        lookup(&self.properties, name)
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        lookup(&self.system_properties, name)
    }

    fn body(&self) -> &[u8] {
        &self.body
    }
}
