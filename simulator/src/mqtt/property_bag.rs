//! Properties in a topic: `name=value&name=value`, each percent-encoded; system properties have short names in `$.`.
//!
//! A plus is a plus. A name without `=` has no value. Of several values of one name the last counts. Some clients end the
//! bag with a slash.

use std::borrow::Cow;

use edgectl_hub::message::{Message, Properties, system};
use edgectl_schemas::sas::{decode, encode_into};

/// Short names, the names that routes use, and whether a hub sends them on. The Python SDK knows the acknowledgement by
/// `iothub-ack`; the edge runtime itself writes `ack`, which is read as well.
const SYSTEM: [(&str, &str, bool); 17] = [
    ("$.mid", system::MESSAGE_ID, true),
    ("$.cid", system::CORRELATION_ID, true),
    ("$.uid", system::USER_ID, true),
    ("$.to", system::TO, true),
    ("$.ct", system::CONTENT_TYPE, true),
    ("$.ce", system::CONTENT_ENCODING, true),
    ("$.exp", system::EXPIRY, true),
    ("$.on", system::OUTPUT_NAME, false),
    ("$.cdid", system::CONNECTION_DEVICE_ID, true),
    ("$.cmid", system::CONNECTION_MODULE_ID, true),
    ("$.schema", system::MESSAGE_SCHEMA, true),
    ("$.ctime", system::CREATION_TIME, true),
    ("$.ifid", system::INTERFACE_ID, false),
    ("$.sub", system::SUBJECT, true),
    ("iothub-ack", system::ACK, true),
    ("ack", system::ACK, false),
    ("iothub-operation", system::OPERATION, true),
];

/// What a hub adds to the system properties of a message, in bytes and in number.
const ADDED_BY_HUB: (usize, usize) = (256, 6);

/// Reads a bag into the properties of a message.
pub fn read(bag: &str, message: &mut Message) {
    message.system.reserve(ADDED_BY_HUB.1 + 4, ADDED_BY_HUB.0 + bag.len());
    for pair in bag.strip_suffix('/').unwrap_or(bag).split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(decoded(value))),
            None => (pair, None),
        };
        match system_name(name) {
            Some(long) => message.system.put(long, value.as_deref()),
            None => message.properties.put(&decoded(name), value.as_deref()),
        }
    }
}

/// The name that routes use for an encoded short one.
fn system_name(name: &str) -> Option<&'static str> {
    let decoded = decoded(name);
    SYSTEM.iter().find(|(short, _, _)| *short == decoded).map(|(_, long, _)| *long)
}

/// Nearly nothing is encoded but the dollar sign of a short name.
fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('%') { Cow::Owned(decode(text)) } else { Cow::Borrowed(text) }
}

/// Appends a message's properties to a topic as a hub sends them: the application's first, then the system's in their
/// order.
pub fn write_from_hub(message: &Message, topic: &mut String) {
    let start = topic.len();
    put_all(topic, start, &message.properties);
    for (name, value) in message.system.iter() {
        if let Some((short, _, true)) = SYSTEM.iter().find(|(_, long, _)| *long == name) {
            put(topic, start, short, value);
        }
    }
}

/// Writes a message's properties as a client sends them: the system's first, the output before all.
pub fn write_from_client(message: &Message) -> String {
    let mut bag = String::new();
    put(&mut bag, 0, "$.on", message.system.get(system::OUTPUT_NAME));
    for (short, long, _) in SYSTEM.iter().filter(|(short, _, _)| !["$.on", "ack"].contains(short)) {
        // Who is connected is the hub's to say, except where an edge hub hands on what another one sent.
        put(&mut bag, 0, short, message.system.get(long));
    }
    put_all(&mut bag, 0, &message.properties);
    bag
}

/// `start` is where the bag begins.
fn put_all(bag: &mut String, start: usize, properties: &Properties) {
    for (name, value) in properties.iter() {
        match value {
            Some(value) => put(bag, start, name, Some(value)),
            None => {
                separate(bag, start);
                encode_into(name, bag);
            }
        }
    }
}

fn put(bag: &mut String, start: usize, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    separate(bag, start);
    encode_into(name, bag);
    bag.push('=');
    encode_into(value, bag);
}

fn separate(bag: &mut String, start: usize) {
    if bag.len() > start {
        bag.push('&');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bags_of_the_sdks_are_read() {
        let mut message = Message::default();
        // As Node sends it, with a slash at the end.
        read(
            "%24.on=out2&%24.mid=m%20id%2F1&%24.ct=application%2Fjson&%24x=y%2Fz&a%20b=c%3Dd%26e&u=%C3%A9%2B&flag/",
            &mut message,
        );
        assert_eq!(message.system.get(system::OUTPUT_NAME), Some("out2"));
        assert_eq!(message.system.get(system::MESSAGE_ID), Some("m id/1"));
        assert_eq!(message.system.get(system::CONTENT_TYPE), Some("application/json"));
        let properties: Vec<_> = message.properties.iter().collect();
        assert_eq!(properties, [("$x", Some("y/z")), ("a b", Some("c=d&e")), ("u", Some("é+")), ("flag", None)]);
    }

    #[test]
    fn a_hub_sends_the_application_first_and_keeps_the_output_to_itself() {
        let mut message = Message::default();
        message.properties.set("k", "v".to_owned());
        message.system.set(system::OUTPUT_NAME, "out".to_owned());
        message.system.set(system::CONNECTION_DEVICE_ID, "edge".to_owned());
        message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
        let mut topic = "topic/".to_owned();
        write_from_hub(&message, &mut topic);
        assert_eq!(topic, "topic/k=v&%24.cdid=edge&%24.ct=application%2Fjson");
        assert!(write_from_client(&message).starts_with("%24.on=out&"));
    }

    proptest! {
        #[test]
        fn what_a_client_writes_a_hub_reads(
            names in proptest::collection::btree_map("[^$].{0,6}", proptest::option::of(".{0,6}"), 0..5),
            id in proptest::option::of(".{0,6}"),
        ) {
            let mut message = Message::default();
            for (name, value) in names {
                if name != "ack" { message.properties.set(name, value); }
            }
            if let Some(id) = id { message.system.set(system::MESSAGE_ID, id); }
            let mut read_back = Message::default();
            read(&write_from_client(&message), &mut read_back);
            prop_assert_eq!(read_back, message);
        }
    }
}
