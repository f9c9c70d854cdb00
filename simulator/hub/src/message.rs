//! A message on its way through a hub.

use bytes::Bytes;

/// Most bytes of a device-to-cloud message: body and the names and values of its properties.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// Names and values in the order they came. A value may be null; of several values of one name the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, Option<String>)>);

impl Properties {
    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property, replacing what has exactly this name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Option<String>>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes the property of exactly this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The value of a property of exactly this name, if it is there and not null.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name)?.1.as_deref()
    }

    /// All names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes of names and values. A null value makes the sum zero, as in the real hub.
fn size<'a>(mut properties: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> usize {
    properties.try_fold(0, |sum, (name, value)| Some(sum + name.len() + value?.len())).unwrap_or(0)
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(items: I) -> Self {
        let mut properties = Self::new();
        for (name, value) in items {
            properties.set(name, Some(value.into()));
        }
        properties
    }
}

/// A message: body, application properties, and system properties under the names that routes use
/// (the constants of [`system`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The payload.
    pub body: Bytes,
    /// What the sender's application set.
    pub properties: Properties,
    /// What protocols and hubs set.
    pub system: Properties,
}

impl Message {
    /// A message with a body and nothing else.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Bytes as counted against [`MAX_MESSAGE_BYTES`]. What a hub adds does not count: a message that one hub took must
    /// not be too large for the next.
    pub fn size(&self) -> usize {
        let senders = self.system.iter().filter(|(name, _)| !system::SET_BY_HUB.contains(name));
        self.body.len() + size(self.properties.iter()) + size(senders)
    }
}

/// The names of system properties, as routes write them after `$`.
pub mod system {
    /// Those that a hub sets when it takes a message, whatever the sender wrote.
    pub const SET_BY_HUB: [&str; 5] =
        [CONNECTION_DEVICE_ID, CONNECTION_MODULE_ID, ENQUEUED_TIME, EDGE_MESSAGE_ID, EDGE_HUB_ORIGIN];

    /// Set by the sender.
    pub const MESSAGE_ID: &str = "messageId";
    /// Set by the sender: `$.cid` in MQTT.
    pub const CORRELATION_ID: &str = "cid";
    /// Set by the sender.
    pub const USER_ID: &str = "userId";
    /// Set by the sender.
    pub const TO: &str = "to";
    /// Set by the sender; routes look into bodies only when it is `application/json`.
    pub const CONTENT_TYPE: &str = "contentType";
    /// Set by the sender: `utf-8`, `utf-16` or `utf-32` where routes look into the body.
    pub const CONTENT_ENCODING: &str = "contentEncoding";
    /// Set by the sender.
    pub const EXPIRY: &str = "absolute-expiry-time";
    /// Feedback wanted for a cloud-to-device message.
    pub const ACK: &str = "ack";
    /// The output a module sent to.
    pub const OUTPUT_NAME: &str = "outputName";
    /// Set by the hub from the authenticated identity.
    pub const CONNECTION_DEVICE_ID: &str = "connectionDeviceId";
    /// Set by the hub from the authenticated identity.
    pub const CONNECTION_MODULE_ID: &str = "connectionModuleId";
    /// `twinChangeNotification` on notices of changed reported properties.
    pub const MESSAGE_SCHEMA: &str = "messageSchema";
    /// Set by the sender.
    pub const CREATION_TIME: &str = "creationTime";
    /// Operation of digital twins.
    pub const OPERATION: &str = "operation";
    /// Set by the sender.
    pub const INTERFACE_ID: &str = "iothub-interface-id";
    /// The component of a digital twin.
    pub const SUBJECT: &str = "dt-subject";
    /// When the hub took the message.
    pub const ENQUEUED_TIME: &str = "enqueuedTime";
    /// Names a delivery until it is settled.
    pub const LOCK_TOKEN: &str = "lockToken";
    /// How often a cloud-to-device message was delivered.
    pub const DELIVERY_COUNT: &str = "deliveryCount";
    /// The number of a message in its queue.
    pub const SEQUENCE_NUMBER: &str = "sequenceNumber";
    /// The edge hub's own number of the message, a GUID.
    pub const EDGE_MESSAGE_ID: &str = "edgeMessageId";
    /// `internal` or `downstream`: where the edge hub got the message from.
    pub const EDGE_HUB_ORIGIN: &str = "edgeHubOriginInterface";
}
