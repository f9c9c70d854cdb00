//! Messages as clients of AMQP write and read them.

use bytes::Bytes;
use edgectl_hub::message::{Message, system};
use edgectl_wire::amqp::message::{AnnotatedMessage, Body};
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::value::{Symbol, Value};
use jiff::Timestamp;

/// Application properties that mean something to a hub.
const APPLICATION: [(&str, &str); 3] = [
    ("iothub-outputname", system::OUTPUT_NAME),
    ("iothub-creation-time-utc", system::CREATION_TIME),
    ("iothub-ack", system::ACK),
];

/// Annotations, whose names are those of the system properties but for two that the hub sets.
const ANNOTATIONS: [(&str, &str); 4] = [
    ("iothub-interface-id", system::INTERFACE_ID),
    ("dt-subject", system::SUBJECT),
    ("iothub-connection-device-id", system::CONNECTION_DEVICE_ID),
    ("iothub-connection-module-id", system::CONNECTION_MODULE_ID),
];

/// Writes a message as the Node SDK does.
pub fn write(message: &Message) -> AnnotatedMessage {
    let mut written = AnnotatedMessage::of_data(message.body.clone());
    let text = |name| message.system.get(name).map(str::to_owned);
    let symbol = |name| message.system.get(name).map(Symbol::from_text);
    let properties = &mut written.properties;
    properties.message_id = text(system::MESSAGE_ID).map(MessageId::String);
    properties.correlation_id = text(system::CORRELATION_ID).map(MessageId::String);
    properties.user_id = text(system::USER_ID).map(Bytes::from);
    properties.to = text(system::TO);
    properties.content_type = symbol(system::CONTENT_TYPE);
    properties.content_encoding = symbol(system::CONTENT_ENCODING);
    let expiry = message.system.get(system::EXPIRY).map(|time| time.parse::<Timestamp>().unwrap());
    properties.absolute_expiry_time = expiry.map(Timestamp::as_millisecond);
    for (annotation, name) in ANNOTATIONS {
        if let Some(value) = message.system.get(name) {
            written.message_annotations.put_symbol(annotation, value.into());
        }
    }
    for (property, name) in APPLICATION {
        if let Some(value) = message.system.get(name) {
            written.application_properties.put_text(property, value.into());
        }
    }
    for (name, value) in message.properties.iter() {
        written.application_properties.put_text(name, value.map_or(Value::Null, Value::from));
    }
    written
}

/// Reads a message that a hub sent.
pub fn read(received: &AnnotatedMessage) -> Message {
    let mut message = Message::new(data(received));
    let properties = &received.properties;
    let id = |id: &MessageId| match id {
        MessageId::String(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    };
    let user = properties.user_id.as_ref().map(|user| String::from_utf8(user.to_vec()).unwrap());
    let expiry = properties.absolute_expiry_time.map(|time| Timestamp::from_millisecond(time).unwrap());
    for (name, value) in [
        (system::MESSAGE_ID, properties.message_id.as_ref().map(id)),
        (system::CORRELATION_ID, properties.correlation_id.as_ref().map(id)),
        (system::USER_ID, user),
        (system::TO, properties.to.clone()),
        (system::CONTENT_TYPE, properties.content_type.as_ref().map(ToString::to_string)),
        (system::CONTENT_ENCODING, properties.content_encoding.as_ref().map(ToString::to_string)),
        (system::EXPIRY, expiry.map(|time| format!("{time:.3}"))),
    ] {
        if value.is_some() {
            message.system.set(name, value);
        }
    }
    for (annotation, name) in ANNOTATIONS {
        if let Some(value) = received.message_annotations.get(annotation).and_then(Value::as_text) {
            message.system.set(name, value.to_owned());
        }
    }
    for (name, value) in &received.application_properties.0 {
        let (name, value) = (name.as_text().unwrap(), value.as_text().map(str::to_owned));
        match APPLICATION.iter().find(|(property, _)| *property == name) {
            Some((_, long)) => message.system.set(long, value),
            None => message.properties.set(name, value),
        }
    }
    message
}

/// The bytes of a message.
pub fn data(message: &AnnotatedMessage) -> Bytes {
    match &message.body {
        Body::Data(sections) => sections.concat().into(),
        other => panic!("{other:?} is no data"),
    }
}
