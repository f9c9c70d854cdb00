//! Messages of a hub as AMQP has them, and back.

use bytes::Bytes;
use edgectl_hub::gateway::Destination;
use edgectl_hub::message::{Message, Properties as HubProperties, system};
use edgectl_wire::amqp::error::AmqpError;
use edgectl_wire::amqp::message::{AnnotatedMessage, BATCH_FORMAT, Body};
use edgectl_wire::amqp::properties::{MessageId, Properties};
use edgectl_wire::amqp::value::{Symbol, Value};

use super::text::{of_id, of_time, of_value, to_time};

/// Application properties that are system properties to a hub, and whether a hub sends them on.
const APPLICATION: [(&str, &str, bool); 5] = [
    ("iothub-outputname", system::OUTPUT_NAME, false),
    ("iothub-message-schema", system::MESSAGE_SCHEMA, true),
    ("iothub-creation-time-utc", system::CREATION_TIME, true),
    ("iothub-operation", system::OPERATION, true),
    ("iothub-ack", system::ACK, true),
];
/// Annotations that are system properties to a hub and that clients may set.
const ANNOTATIONS: [&str; 2] = [system::INTERFACE_ID, system::SUBJECT];

/// What a client sends cannot be a message to a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableMessage {
    /// It is none.
    #[error(transparent)]
    Amqp(#[from] AmqpError),
    /// The body is a value or a sequence.
    #[error("the body of a message must be data")]
    Body,
}

/// Reads a delivery: one message, or a batch of them, whose data sections are messages.
pub fn read_delivery(format: u32, bytes: Bytes) -> Result<Vec<Message>, UnusableMessage> {
    let message = AnnotatedMessage::decode(bytes)?;
    if format != BATCH_FORMAT {
        return Ok(vec![read(message)?]);
    }
    let Body::Data(messages) = message.body else { return Err(UnusableMessage::Body) };
    messages.into_iter().map(|bytes| read(AnnotatedMessage::decode(bytes)?)).collect()
}

/// Reads a message that a client sent.
pub fn read(message: AnnotatedMessage) -> Result<Message, UnusableMessage> {
    let mut read = Message::new(body(message.body)?);
    let mut set = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            read.system.set(name, value);
        }
    };
    let properties = message.properties;
    set(system::MESSAGE_ID, properties.message_id.as_ref().map(of_id));
    set(system::USER_ID, properties.user_id.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    set(system::TO, properties.to);
    set(system::CORRELATION_ID, properties.correlation_id.as_ref().map(of_id));
    set(system::CONTENT_TYPE, properties.content_type.map(|symbol| symbol.to_string()));
    set(system::CONTENT_ENCODING, properties.content_encoding.map(|symbol| symbol.to_string()));
    set(system::EXPIRY, properties.absolute_expiry_time.map(of_time));
    for name in ANNOTATIONS {
        set(name, message.message_annotations.get(name).and_then(of_value));
    }
    for (key, value) in message.application_properties.0 {
        let Some(name) = key.as_text() else { continue };
        match APPLICATION.iter().find(|(known, _, _)| *known == name) {
            Some((_, long, _)) => read.system.set(*long, of_value(&value)),
            None => read.properties.set(name, of_value(&value)),
        }
    }
    Ok(read)
}

/// The bytes of a body; several sections are one after the other.
pub fn body(body: Body) -> Result<Bytes, UnusableMessage> {
    match body {
        Body::Empty | Body::Value(Value::Null) => Ok(Bytes::new()),
        Body::Data(mut sections) if sections.len() == 1 => Ok(sections.remove(0)),
        Body::Data(sections) => Ok(sections.concat().into()),
        Body::Value(Value::Binary(bytes)) => Ok(bytes),
        Body::Value(Value::String(text)) => Ok(text.into()),
        Body::Value(_) | Body::Sequence(_) => Err(UnusableMessage::Body),
    }
}

/// Writes a message as a client receives it. The lock token names the delivery until it is settled.
pub fn write(message: &Message, destination: &Destination, lock_token: [u8; 16]) -> AnnotatedMessage {
    let mut written = AnnotatedMessage::of_data(message.body.clone());
    let system = &message.system;
    let text = |name| system.get(name).map(str::to_owned);
    let symbol = |name| system.get(name).map(Symbol::from_text);
    written.properties = Properties {
        message_id: text(system::MESSAGE_ID).map(MessageId::String),
        user_id: text(system::USER_ID).map(Bytes::from),
        to: text(system::TO),
        correlation_id: text(system::CORRELATION_ID).map(MessageId::String),
        content_type: symbol(system::CONTENT_TYPE),
        content_encoding: symbol(system::CONTENT_ENCODING),
        absolute_expiry_time: system.get(system::EXPIRY).and_then(to_time),
        ..Properties::default()
    };
    annotate(&mut written, system, destination, lock_token);
    for (name, value) in message.properties.iter() {
        written.application_properties.put_text(name, value.map_or(Value::Null, Value::from));
    }
    for (name, long, sent) in APPLICATION {
        if let (true, Some(value)) = (sent, system.get(long)) {
            written.application_properties.put_text(name, value.into());
        }
    }
    written
}

fn annotate(written: &mut AnnotatedMessage, system: &HubProperties, destination: &Destination, lock_token: [u8; 16]) {
    let annotations = &mut written.message_annotations;
    if let Destination::Input(input) = destination {
        annotations.put_symbol("x-opt-input-name", (&**input).into());
    }
    annotations.put_symbol("x-opt-lock-token", Value::Uuid(lock_token));
    for (annotation, name) in [
        ("iothub-connection-device-id", system::CONNECTION_DEVICE_ID),
        ("iothub-connection-module-id", system::CONNECTION_MODULE_ID),
        (system::INTERFACE_ID, system::INTERFACE_ID),
        (system::SUBJECT, system::SUBJECT),
    ] {
        if let Some(value) = system.get(name) {
            annotations.put_symbol(annotation, value.into());
        }
    }
    if let Some(time) = system.get(system::ENQUEUED_TIME).and_then(to_time) {
        annotations.put_symbol("iothub-enqueuedtime", Value::Timestamp(time));
    }
    if let Some(number) = system.get(system::SEQUENCE_NUMBER).and_then(|number| number.parse().ok()) {
        annotations.put_symbol("x-opt-sequence-number", Value::Long(number));
    }
    if let Some(count) = system.get(system::DELIVERY_COUNT).and_then(|count| count.parse().ok()) {
        annotations.put_symbol("iothub-deliverycount", Value::Int(count));
    }
}

#[cfg(test)]
mod tests {
    use edgectl_wire::amqp::value::Map;

    use super::*;

    #[test]
    fn what_a_client_says_of_a_message_is_kept() {
        let mut message = AnnotatedMessage::of_data("21.5");
        message.properties = Properties {
            message_id: Some(MessageId::Uuid([0x11; 16])),
            correlation_id: Some(MessageId::Ulong(7)),
            content_type: Some(Symbol::new("application/json")),
            absolute_expiry_time: Some(1_700_000_000_000),
            ..Properties::default()
        };
        message.message_annotations.put_symbol("dt-subject", "thermostat".into());
        message.message_annotations.put_symbol("iothub-connection-device-id", "spoofed".into());
        message.application_properties = Map(vec![
            ("iothub-outputname".into(), "out".into()),
            ("room".into(), "kiln".into()),
            ("count".into(), Value::Int(-3)),
            ("hot".into(), Value::Boolean(true)),
            ("none".into(), Value::Null),
        ]);
        let read = read(message).unwrap();
        assert_eq!(read.body, "21.5");
        let properties: Vec<_> = read.properties.iter().collect();
        let expected = [("room", Some("kiln")), ("count", Some("-3")), ("hot", Some("true")), ("none", None)];
        assert_eq!(properties, expected);
        let system: Vec<_> = read.system.iter().collect();
        assert_eq!(
            system,
            [
                (system::MESSAGE_ID, Some("11111111-1111-1111-1111-111111111111")),
                (system::CORRELATION_ID, Some("7")),
                (system::CONTENT_TYPE, Some("application/json")),
                (system::EXPIRY, Some("2023-11-14T22:13:20.000Z")),
                (system::SUBJECT, Some("thermostat")),
                (system::OUTPUT_NAME, Some("out")),
            ]
        );
    }

    #[test]
    fn what_a_hub_knows_of_a_message_is_told() {
        let mut message = Message::new("x");
        message.properties.set("room", "kiln".to_owned());
        for (name, value) in [
            (system::MESSAGE_ID, "m"),
            (system::OUTPUT_NAME, "out"),
            (system::CONNECTION_DEVICE_ID, "edge"),
            (system::ENQUEUED_TIME, "2023-11-14T22:13:20.000Z"),
            (system::ACK, "full"),
        ] {
            message.system.set(name, value.to_owned());
        }
        let written = write(&message, &Destination::Input("input1".into()), [1; 16]);
        assert_eq!(written.properties.message_id, Some(MessageId::String("m".to_owned())));
        let annotation = |name| written.message_annotations.get(name);
        assert_eq!(annotation("x-opt-input-name"), Some(&"input1".into()));
        assert_eq!(annotation("iothub-connection-device-id"), Some(&"edge".into()));
        assert_eq!(annotation("iothub-enqueuedtime"), Some(&Value::Timestamp(1_700_000_000_000)));
        let application: Vec<_> = written.application_properties.0;
        assert_eq!(application, [("room".into(), "kiln".into()), ("iothub-ack".into(), "full".into())]);
    }

    #[test]
    fn a_batch_is_its_messages_and_other_bodies_are_refused() {
        let one = AnnotatedMessage::of_data("a").to_bytes();
        let batch = AnnotatedMessage { body: Body::Data(vec![one.clone(), one]), ..AnnotatedMessage::default() };
        let bodies = |format| -> Vec<Bytes> {
            read_delivery(format, batch.to_bytes()).unwrap().into_iter().map(|message| message.body).collect()
        };
        assert_eq!(bodies(BATCH_FORMAT), ["a", "a"]);
        assert_eq!(bodies(0).len(), 1);
        let value = AnnotatedMessage { body: Body::Value(Value::Int(1)), ..AnnotatedMessage::default() };
        assert_eq!(read_delivery(0, value.to_bytes()), Err(UnusableMessage::Body));
        assert_eq!(read_delivery(BATCH_FORMAT, value.to_bytes()), Err(UnusableMessage::Body));
    }
}
