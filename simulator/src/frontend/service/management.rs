//! Questions about the endpoint: what it is called, which partitions it has, and what is in them.

use edgectl_hub::cloud::hub::CloudHub;
use edgectl_wire::amqp::message::{AnnotatedMessage, Body};
use edgectl_wire::amqp::value::{Array, Map, Value};

use super::events::{PARTITIONS, millisecond, partition_of};

const HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// Answers a request: `operation` READ of a `type` by its `name`.
pub(super) fn answer(hub: &CloudHub, request: AnnotatedMessage) -> AnnotatedMessage {
    let property = |name: &str| request.application_properties.get(name);
    let text = |name: &str| property(name).and_then(Value::as_text).unwrap_or_default();
    let found = match (text("operation"), text("type")) {
        ("READ", HUB) => Ok(of_hub(text("name"))),
        ("READ", PARTITION) => {
            let partition = property("partition");
            let number = partition.and_then(|value| value.as_integer().or_else(|| value.as_text()?.parse().ok()));
            let number = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number < PARTITIONS);
            number.map(|number| of_partition(hub, text("name"), number)).ok_or((404, "there is no such partition"))
        }
        ("READ", _) => Err((404, "the type is not known")),
        _ => Err((400, "the operation is not READ")),
    };
    let (status, description, body) = match found {
        Ok(map) => (200, "OK", Value::Map(map)),
        Err((status, description)) => (status, description, Value::Null),
    };
    let mut answer = AnnotatedMessage { body: Body::Value(body), ..AnnotatedMessage::default() };
    answer.properties.correlation_id = request.properties.message_id;
    answer.properties.to = request.properties.reply_to;
    answer.application_properties.put_text("status-code", Value::Int(status));
    answer.application_properties.put_text("status-description", description.into());
    answer
}

fn of_hub(name: &str) -> Map {
    let partitions = (0..PARTITIONS).map(|number| number.to_string().as_str().into()).collect();
    let mut map = Map::new();
    map.put_text("name", name.into());
    map.put_text("type", HUB.into());
    // Nobody has asked since when it is there.
    map.put_text("created_at", Value::Timestamp(0));
    map.put_text("partition_count", Value::Int(PARTITIONS.cast_signed()));
    map.put_text("partition_ids", Value::Array(Array::new(partitions).unwrap_or_default()));
    map
}

fn of_partition(hub: &CloudHub, name: &str, number: u32) -> Map {
    let (mut first, mut last, mut time) = (None, None, 0);
    // Only to be told, and rarely.
    let gone_through = hub.events().heads(|head| {
        if partition_of(&head.device_id) == number {
            first.get_or_insert(head.sequence_number);
            last = Some(head.sequence_number);
            time = millisecond(&head.enqueued_time);
        }
    });
    if let Err(error) = gone_through {
        tracing::error!(%error, "a partition cannot be gone through");
    }
    let long = |number: Option<u64>, none: i64| number.map_or(none, |number| i64::try_from(number).unwrap_or(i64::MAX));
    let mut map = Map::new();
    map.put_text("name", name.into());
    map.put_text("type", PARTITION.into());
    map.put_text("partition", number.to_string().as_str().into());
    map.put_text("begin_sequence_number", Value::Long(long(first, 0)));
    map.put_text("last_enqueued_sequence_number", Value::Long(long(last, -1)));
    map.put_text("last_enqueued_offset", long(last, -1).to_string().as_str().into());
    map.put_text("last_enqueued_time_utc", Value::Timestamp(time));
    map.put_text("is_partition_empty", Value::Boolean(last.is_none()));
    map
}
