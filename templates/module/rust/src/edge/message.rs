//! A message between modules.

use std::collections::BTreeMap;

use serde_json::Value;

use super::topic::{decode, encode};

/// A message: a body, and properties that routes can look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub body: Vec<u8>,
    /// What the sender says about the message.
    pub properties: BTreeMap<String, String>,
    /// Such as `application/json`; routes look into a body only if it is that.
    pub content_type: Option<String>,
    /// Such as `utf-8`.
    pub content_encoding: Option<String>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    /// What the hub must be told to be done with the message.
    pub(super) receipt: Option<super::connection::Receipt>,
}

impl Message {
    /// A message without properties, for modules that make their own.
    #[allow(dead_code)]
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// A message with a JSON body, for modules that make their own.
    #[allow(dead_code)]
    pub fn json(body: &Value) -> Self {
        Self {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            ..Self::new(body.to_string())
        }
    }

    /// The properties as they stand in a topic.
    pub(super) fn to_bag(&self, output: &str) -> String {
        let system = [
            ("$.on", Some(output)),
            ("$.mid", self.message_id.as_deref()),
            ("$.cid", self.correlation_id.as_deref()),
            ("$.ct", self.content_type.as_deref()),
            ("$.ce", self.content_encoding.as_deref()),
        ];
        let system = system
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let application = self
            .properties
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let pairs: Vec<String> = system
            .chain(application)
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect();
        pairs.join("&")
    }

    /// A message from the properties in its topic.
    pub(super) fn from_bag(bag: &str, body: Vec<u8>) -> Self {
        let mut message = Self {
            body,
            ..Self::default()
        };
        for pair in bag
            .trim_end_matches('/')
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key), decode(value));
            match key.as_str() {
                "$.mid" => message.message_id = Some(value),
                "$.cid" => message.correlation_id = Some(value),
                "$.ct" => message.content_type = Some(value),
                "$.ce" => message.content_encoding = Some(value),
                // Set by the hub, and by it alone: who sent the message, when, through which device.
                system if system.starts_with("$.") => {}
                _ => {
                    message.properties.insert(key, value);
                }
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_survive_a_topic() {
        let mut message = Message {
            message_id: Some("m id/1".to_owned()),
            ..Message::default()
        };
        message
            .properties
            .insert("a b".to_owned(), "c=d&e/+#é".to_owned());
        let bag = message.to_bag("output1");
        assert_eq!(
            bag,
            "%24.on=output1&%24.mid=m%20id%2F1&a%20b=c%3Dd%26e%2F%2B%23%C3%A9"
        );
        assert_eq!(Message::from_bag(&bag, Vec::new()), message);
    }

    #[test]
    fn what_the_hub_adds_is_not_a_property() {
        let message = Message::from_bag(
            "%24.cdid=edge1&%24.cmid=other&%24.ct=application%2Fjson&k=v/",
            Vec::new(),
        );
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        assert_eq!(
            message.properties,
            BTreeMap::from([("k".to_owned(), "v".to_owned())])
        );
    }
}
