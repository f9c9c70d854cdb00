//! Direct methods over the link pair `…/methods/devicebound`.

use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::value::Value;
use uuid::Uuid;

use super::message::body;
use super::text::of_id;

/// The status of an answer that has none, as in the real hub.
const NO_STATUS: i32 = 400_000;

/// Writes a call, to be answered under a number.
pub fn write_call(request: MethodRequest, number: Uuid) -> AnnotatedMessage {
    let mut message = AnnotatedMessage::of_data(request.payload);
    message.properties.correlation_id = Some(MessageId::Uuid(number.into_bytes()));
    message.application_properties.put_text("IoThub-methodname", request.name.as_str().into());
    message
}

/// Reads an answer, and the number of the call. None if it answers nothing.
pub fn read_answer(message: AnnotatedMessage) -> Option<(Uuid, MethodResponse)> {
    // Clients send the number back as a UUID or as its text.
    let number = Uuid::parse_str(&of_id(message.properties.correlation_id.as_ref()?)).ok()?;
    let status = message.application_properties.get("IoThub-status");
    let number_of = |value: &Value| value.as_integer().or_else(|| value.as_text()?.parse().ok());
    let status = status.and_then(number_of).and_then(|status| status.try_into().ok()).unwrap_or(NO_STATUS);
    Some((number, MethodResponse { status, payload: body(message.body).ok()? }))
}
