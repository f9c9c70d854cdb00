//! Values as text and back: a hub keeps texts alone.

use edgectl_hub::clock::text_of;
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::value::Value;
use jiff::Timestamp;
use uuid::Uuid;

/// A simple value as text; none for null, and for values that are not simple.
pub fn of_value(value: &Value) -> Option<String> {
    match value {
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Ulong(number) => Some(number.to_string()),
        Value::Timestamp(time) => Some(of_time(*time)),
        Value::Float(number) => Some(number.to_string()),
        Value::Double(number) => Some(number.to_string()),
        Value::Char(character) => Some(character.to_string()),
        Value::Uuid(bytes) => Some(Uuid::from_bytes(*bytes).to_string()),
        other => other.as_text().map(str::to_owned).or_else(|| other.as_integer().map(|number| number.to_string())),
    }
}

/// A message's identifier as text.
pub fn of_id(id: &MessageId) -> String {
    match id {
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(bytes) => Uuid::from_bytes(*bytes).to_string(),
        MessageId::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        MessageId::String(text) => text.clone(),
    }
}

/// A time, in milliseconds since the Unix epoch, as RFC 3339 in UTC.
pub fn of_time(milliseconds: i64) -> String {
    text_of(u64::try_from(milliseconds).unwrap_or_default())
}

/// A time of RFC 3339 in milliseconds since the Unix epoch.
pub fn to_time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}
