//! Messages arrive in the cloud as they were sent.

use edgectl_hub::message::{Message, system};
use serde_json::{Value, json};

use crate::clients::client::connect;
use crate::door::Door;
use crate::site::Site;
use crate::table::{Behaviour, Hub};

/// What a sender says of a message.
const SYSTEM: [(&str, &str); 9] = [
    (system::MESSAGE_ID, "m id/1"),
    (system::CORRELATION_ID, "c&1"),
    (system::USER_ID, "u"),
    (system::CONTENT_TYPE, "application/json"),
    (system::CONTENT_ENCODING, "utf-8"),
    (system::EXPIRY, "2130-01-01T00:00:00.000Z"),
    (system::INTERFACE_ID, "urn:azureiot:Security:SecurityAgent:1"),
    (system::SUBJECT, "thermostat"),
    (system::CREATION_TIME, "2026-01-01T00:00:00.000Z"),
];

/// A message with all that a sender may say of it, and properties as hard as the protocol carries them.
pub fn rich(door: Door, body: &str) -> Message {
    let mut message = Message::new(body.to_owned());
    for (name, value) in SYSTEM {
        message.system.set(name, value.to_owned());
    }
    // Names of headers have no case, and few characters.
    let properties: &[(&str, &str)] = if door == Door::Https {
        &[("room", "kiln 3"), ("u", "é+"), ("empty", "")]
    } else {
        &[("room", "kiln 3"), ("u", "é+"), ("empty", ""), ("a b", "c=d&e"), ("$x", "y/z#?%41"), ("Case", "K")]
    };
    for (name, value) in properties {
        message.properties.set(name, (*value).to_owned());
    }
    if door != Door::Https {
        message.properties.set("none", None);
    }
    message
}

/// The properties of a message, as events show them.
pub fn properties(message: &Message) -> Value {
    message.properties.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

#[tokio::test]
async fn a_message_arrives_with_its_properties() {
    let site = Site::start().await;
    site.route_all_up().await;
    for (hub, door) in Behaviour::Telemetry.places() {
        let (module, leaf) = (format!("edge/{hub}-{door}"), format!("leaf-{hub}-{door}"));
        site.add_module(&module);
        site.add_leaf(&leaf, None);
        for identity in [module, leaf] {
            let message = rich(door, r#"{"t": 21}"#);
            let mut client = connect(&site, (hub, door), &identity).await;
            assert_eq!(client.send(&message).await, Ok(()), "{identity}");
            let event = site.received(&identity, 1).await.remove(0);
            assert_eq!(event["body"], json!({ "t": 21 }), "{identity}");
            assert_eq!(event["properties"], properties(&message), "{identity}");
            for (name, value) in SYSTEM {
                assert_eq!(event["systemProperties"][name], value, "{name} of {identity}: {event}");
            }
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn bodies_are_bytes() {
    let site = Site::start().await;
    site.route_all_up().await;
    for (hub, door) in Behaviour::Telemetry.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let mut client = connect(&site, (hub, door), &module).await;
        for body in [&[][..], &[0, 159, 255, 10]] {
            assert_eq!(client.send(&Message::new(body.to_vec())).await, Ok(()), "{module}");
        }
        let events = site.received(&module, 2).await;
        assert_eq!((&events[0]["body"], &events[1]["bodyBase64"]), (&json!(""), &json!("AJ//Cg==")), "{module}");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_a_client_says_of_who_it_is_does_not_count() {
    let site = Site::start().await;
    site.route_all_up().await;
    for (hub, door) in Behaviour::Telemetry.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let mut forged = Message::new("x");
        forged.system.set(system::CONNECTION_DEVICE_ID, "edge".to_owned());
        forged.system.set(system::CONNECTION_MODULE_ID, "m1".to_owned());
        connect(&site, (hub, door), &module).await.send(&forged).await.unwrap();
        let event = site.received(&module, 1).await.remove(0);
        let told = &event["systemProperties"];
        assert_eq!(told[system::CONNECTION_DEVICE_ID], event["deviceId"], "{module}");
        assert_eq!(told[system::CONNECTION_MODULE_ID], event["moduleId"], "{module}");
    }
    assert!(site.events_of("edge/m1").is_empty());
    site.stop().await;
}

#[tokio::test]
async fn an_output_is_where_routes_begin() {
    let site = Site::start().await;
    let doors = Behaviour::Outputs.doors(Hub::Edge);
    let route = |door: &Door| format!("FROM /messages/modules/edge-{door}/outputs/up INTO $upstream");
    site.route(doors.iter().map(|door| (door.to_string(), route(door)))).await;
    for (hub, door) in Behaviour::Outputs.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let mut client = connect(&site, (hub, door), &module).await;
        for output in [None, Some("down"), Some("up")] {
            let mut message = Message::new(output.unwrap_or("none"));
            message.system.set(system::OUTPUT_NAME, output.map(str::to_owned));
            assert_eq!(client.send(&message).await, Ok(()), "{module}");
        }
        let events = site.received(&module, if hub == Hub::Edge { 1 } else { 3 }).await;
        let last = events.last().unwrap();
        assert_eq!((&last["body"], &last["systemProperties"][system::OUTPUT_NAME]), (&json!("up"), &json!("up")));
    }
    site.stop().await;
}
