//! A message on its way through a hub.

use std::fmt;

use bytes::Bytes;

/// Most bytes of a device-to-cloud message: body and the names and values of its properties.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// Names and values in the order they came. A value may be null; of several values of one name the last counts.
#[derive(Clone, Default)]
pub struct Properties {
    /// All names and values behind each other, so that a message needs no memory of its own for each of them.
    text: String,
    entries: Vec<Entry>,
}

/// Where in the text a property stands; the value follows its name.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    name: usize,
    value: Option<usize>,
}

impl Properties {
    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for so many properties with so many bytes of names and values.
    pub fn reserve(&mut self, properties: usize, bytes: usize) {
        self.entries.reserve(properties);
        self.text.reserve(bytes);
    }

    /// Sets a property, replacing what has exactly this name.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl Into<Option<String>>) {
        self.put(name.as_ref(), value.into().as_deref());
    }

    /// Sets a property, replacing what has exactly this name.
    pub fn put(&mut self, name: &str, value: Option<&str>) {
        let entry = Entry { start: self.text.len(), name: name.len(), value: value.map(str::len) };
        let known = self.entries.iter().position(|known| self.name(known) == name);
        self.text.push_str(name);
        self.text.push_str(value.unwrap_or_default());
        match known {
            Some(index) => self.entries[index] = entry,
            None => self.entries.push(entry),
        }
    }

    /// Removes the property of exactly this name.
    pub fn remove(&mut self, name: &str) {
        let known = self.entries.iter().position(|known| self.name(known) == name);
        if let Some(index) = known {
            self.entries.remove(index);
        }
    }

    /// The value of a property of exactly this name, if it is there and not null.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name)?.1
    }

    /// All names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries.iter().map(|entry| (self.name(entry), self.value(entry)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that they take.
    pub fn footprint(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn name(&self, entry: &Entry) -> &str {
        &self.text[entry.start..entry.start + entry.name]
    }

    fn value(&self, entry: &Entry) -> Option<&str> {
        let start = entry.start + entry.name;
        entry.value.map(|length| &self.text[start..start + length])
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Properties {}

impl fmt::Debug for Properties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

/// Bytes of names and values. A null value makes the sum zero, as in the real hub.
fn size<'a>(mut properties: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> usize {
    properties.try_fold(0, |sum, (name, value)| Some(sum + name.len() + value?.len())).unwrap_or(0)
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Properties {
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

    /// Bytes of memory that the message takes.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.properties.footprint() + self.system.footprint()
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
