//! A message of a device as a consumer of the endpoint sees it.

use edgectl_hub::cloud::events::ReceivedEvent;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::message::system;
use edgectl_schemas::ids::Identity;
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::properties::{MessageId, Properties};
use edgectl_wire::amqp::value::{Symbol, Value};
use serde_json::Value as Json;

use super::events::millisecond;
use crate::amqp::text::to_time;

/// How the sender proved who it is. The service tells it as JSON text.
const AUTHENTICATION: &str = r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#;

/// Writes an event. Its number is its offset too.
pub(super) fn write(event: &ReceivedEvent, hub: &CloudHub) -> AnnotatedMessage {
    let mut message = AnnotatedMessage::of_data(event.bytes());
    let text = |name: &str| event.system_properties.get(name).and_then(Json::as_str);
    // Identifiers stay texts: consumers compare them as such.
    let id = |name| text(name).map(|text| MessageId::String(text.to_owned()));
    let symbol = |name| text(name).map(Symbol::from_text);
    message.properties = Properties {
        message_id: id(system::MESSAGE_ID),
        user_id: text(system::USER_ID).map(|user| user.to_owned().into()),
        correlation_id: id(system::CORRELATION_ID),
        content_type: symbol(system::CONTENT_TYPE),
        content_encoding: symbol(system::CONTENT_ENCODING),
        absolute_expiry_time: text(system::EXPIRY).and_then(to_time),
        ..Properties::default()
    };
    let enqueued = Value::Timestamp(millisecond(&event.enqueued_time));
    let number = i64::try_from(event.sequence_number).unwrap_or(i64::MAX);
    let annotations = &mut message.message_annotations;
    annotations.put_symbol("x-opt-sequence-number", Value::Long(number));
    annotations.put_symbol("x-opt-offset", event.sequence_number.to_string().as_str().into());
    annotations.put_symbol("x-opt-enqueued-time", enqueued.clone());
    annotations.put_symbol("iothub-connection-device-id", event.device_id.as_str().into());
    let name = match &event.module_id {
        Some(module) => {
            annotations.put_symbol("iothub-connection-module-id", module.as_str().into());
            format!("{}/{module}", event.device_id)
        }
        None => event.device_id.clone(),
    };
    annotations.put_symbol("iothub-connection-auth-method", AUTHENTICATION.into());
    let generation = Identity::parse(&name).ok().and_then(|identity| hub.registry().get(&identity));
    if let Some(registration) = generation {
        let generation = registration.record.generation_id.as_str();
        annotations.put_symbol("iothub-connection-auth-generation-id", generation.into());
    }
    annotations.put_symbol("iothub-enqueuedtime", enqueued);
    annotations.put_symbol("iothub-message-source", event.source.as_deref().unwrap_or("Telemetry").into());
    for name in [system::INTERFACE_ID, system::SUBJECT] {
        if let Some(value) = text(name) {
            annotations.put_symbol(name, value.into());
        }
    }
    for (name, value) in &event.properties {
        message.application_properties.put_text(name, value.as_str().map_or(Value::Null, Value::from));
    }
    message
}
