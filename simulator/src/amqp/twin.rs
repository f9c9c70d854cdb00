//! Twins over the link pair `…/twin`.

use bytes::Bytes;
use edgectl_wire::amqp::message::{AnnotatedMessage, Body};
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::value::Value;

use super::message::body;

const DESIRED: &str = "/notifications/twin/properties/desired";

/// What a client asks about its twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinRequest {
    /// What it asks.
    pub operation: TwinOperation,
    /// Names the answer, in the type in which the client named it.
    pub correlation: Option<MessageId>,
}

/// What can be asked about a twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TwinOperation {
    /// The whole of it.
    Get,
    /// Reported properties are merged.
    Report(Bytes),
    /// Changes of desired properties are told from now on.
    Subscribe,
    /// They are told no more.
    Unsubscribe,
    /// Nothing that is known; why.
    Unknown(&'static str),
}

impl TwinRequest {
    /// Reads a request.
    pub fn read(message: AnnotatedMessage) -> Self {
        let annotation = |name| message.message_annotations.get(name).and_then(Value::as_text).unwrap_or_default();
        let (operation, resource) = (annotation("operation"), annotation("resource"));
        let operation = match operation.to_ascii_uppercase().as_str() {
            "GET" => TwinOperation::Get,
            "PATCH" if resource.eq_ignore_ascii_case("/properties/reported") => match body(message.body) {
                Ok(bytes) => TwinOperation::Report(bytes),
                Err(_) => TwinOperation::Unknown("the body is not data"),
            },
            "PUT" if resource.eq_ignore_ascii_case(DESIRED) => TwinOperation::Subscribe,
            "DELETE" if resource.eq_ignore_ascii_case(DESIRED) => TwinOperation::Unsubscribe,
            _ => TwinOperation::Unknown("the operation is not known, or not for that resource"),
        };
        Self { operation, correlation: message.properties.correlation_id }
    }
}

/// Writes an answer; the body may be empty.
pub fn answer(
    request: Option<MessageId>,
    status: u16,
    version: Option<u64>,
    body: impl Into<Bytes>,
) -> AnnotatedMessage {
    let mut message = AnnotatedMessage { body: Body::Data(vec![body.into()]), ..AnnotatedMessage::default() };
    message.properties.correlation_id = request;
    message.message_annotations.put_symbol("status", Value::Int(status.into()));
    if let Some(version) = version.and_then(|version| version.try_into().ok()) {
        message.message_annotations.put_symbol("version", Value::Long(version));
    }
    message
}

/// Writes changed desired properties.
pub fn desired(patch: &serde_json::Value) -> AnnotatedMessage {
    let mut message = AnnotatedMessage::of_data(patch.to_string());
    message.message_annotations.put_symbol("resource", DESIRED.into());
    message
}
