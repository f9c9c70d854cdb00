//! Messages: to the cloud, from module to module, over interruptions, and what becomes of those nobody takes.

use std::time::Duration;

use edgectl_hub::event::DropReason;
use edgectl_hub::gateway::{Credential, Destination, Feature, Gateway as _, Refusal, SessionKind, Settlement};
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message, system};
use edgectl_schemas::ids::ModuleId;
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id, texts, token};

fn upstream() -> serde_json::Value {
    json!({ "up": "FROM /messages/* INTO $upstream" })
}

fn to_sink() -> serde_json::Value {
    json!({ "in": "FROM /messages/modules/source/outputs/* INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")" })
}

#[tokio::test(start_paused = true)]
async fn telemetry_reaches_the_cloud_with_its_sender() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), upstream()).await;
    let source = device.connect("edge/source", &[]).await;
    let mut message = Message::new(r#"{"temperature":21}"#);
    message.properties.set("alert", "true".to_owned());
    message.system.set(system::CONTENT_TYPE, "application/json".to_owned());
    message.system.set(system::OUTPUT_NAME, "out".to_owned());
    // Who sent it is for the hub to say.
    message.system.set(system::CONNECTION_DEVICE_ID, "somebody-else".to_owned());
    message.system.set(system::CONNECTION_MODULE_ID, "somebody-else".to_owned());
    source.send_message(message).await.unwrap();

    let received = device.received(1).await;
    assert_eq!((received[0].device_id.as_str(), received[0].module_id.as_deref()), ("edge", Some("source")));
    assert_eq!(received[0].body, Some(json!({ "temperature": 21 })));
    assert_eq!(received[0].properties["alert"], "true");
    assert_eq!(received[0].system_properties[system::CONNECTION_MODULE_ID], "source");
    device.until(|status| status.counters.delivered.get("iothub") == Some(&1)).await;
    let status = device.hub.status();
    assert_eq!(status.counters.accepted["edge/source"], 1);
    assert_eq!(status.counters.routed["up"], 1);
    assert!(status.queues.is_empty(), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn two_senders_keep_their_identities_and_each_its_order() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), upstream()).await;
    device.way.interrupt().await;
    let (source, sink) = (device.connect("edge/source", &[]).await, device.connect("edge/sink", &[]).await);
    for (number, peer) in [&source, &source, &sink, &source, &sink, &sink].into_iter().enumerate() {
        peer.send(None, &number.to_string()).await.unwrap();
    }
    device.way.mend().await;
    let received = device.received(6).await;
    let (from_source, from_sink): (Vec<_>, Vec<_>) =
        received.into_iter().partition(|event| event.module_id.as_deref() == Some("source"));
    assert_eq!((texts(&from_source).join(" "), texts(&from_sink).join(" ")), ("0 1 3".to_owned(), "2 4 5".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_holds_up_no_other_and_nothing_comes_twice() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), upstream()).await;
    device.way.interrupt().await;
    let (source, sink) = (device.connect("edge/source", &[]).await, device.connect("edge/sink", &[]).await);
    for (number, peer) in [&source, &sink, &source, &sink].into_iter().enumerate() {
        peer.send(None, &number.to_string()).await.unwrap();
    }
    device.way.refuse_from(Some(id("edge/source")));
    device.way.mend().await;
    assert_eq!(texts(&device.received(2).await), ["1", "3"]);
    assert_eq!(device.hub.status().queues["iothub"], 4, "the first of them is not sent yet");
    device.way.refuse_from(None);
    assert_eq!(texts(&device.received(4).await), ["1", "3", "0", "2"]);
    device.until(|status| status.queues.is_empty()).await;
    assert_eq!(device.hub.status().counters.delivered["iothub"], 4);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_of_a_long_interruption_arrives_whole_and_in_order() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), upstream()).await;
    let source = device.connect("edge/source", &[]).await;
    source.send(None, "before").await.unwrap();
    device.received(1).await;
    device.way.interrupt().await;
    let backlog: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    for text in &backlog {
        source.send(None, text).await.unwrap();
    }
    assert_eq!(device.hub.status().queues["iothub"], 250);
    device.way.mend().await;
    source.send(None, "after").await.unwrap();
    let received = texts(&device.received(252).await);
    assert_eq!((received[0].as_str(), &received[1..251], received[251].as_str()), ("before", &backlog[..], "after"));
}

#[tokio::test(start_paused = true)]
async fn a_module_gets_messages_one_by_one_in_order() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink()).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    for text in ["a", "b", "c"] {
        source.send(Some("out"), text).await.unwrap();
    }
    let first = sink.given().await;
    assert_eq!(first.delivery.destination, Destination::Input("in1".into()));
    assert!(!first.delivery.redelivered);
    let system = &first.delivery.message.system;
    assert_eq!(system.get(system::CONNECTION_MODULE_ID), Some("source"));
    assert_eq!(system.get(system::OUTPUT_NAME), Some("out"));
    assert!(sink.is_left_alone(), "the second waits for the first");
    first.settle(Settlement::Complete);
    assert_eq!(sink.take(2).await, ["b", "c"]);
    device.until(|status| status.queues.is_empty()).await;
    assert_eq!(device.hub.status().counters.delivered["edge/sink/in1"], 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_connection_did_not_acknowledge_comes_again_and_first() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink()).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    for text in ["a", "b", "c"] {
        source.send(Some("out"), text).await.unwrap();
    }
    sink.given().await.settle(Settlement::Complete);
    let unsettled = sink.given().await;
    drop(unsettled);
    sink.leave().await;

    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    let again = sink.given().await;
    assert_eq!((again.text().as_str(), again.delivery.redelivered), ("b", true));
    again.settle(Settlement::Complete);
    let next = sink.given().await;
    assert_eq!((next.text().as_str(), next.delivery.redelivered), ("c", true), "it was on its way behind b");
    next.settle(Settlement::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_module_that_does_not_answer_gets_the_message_again() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink()).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    source.send(Some("out"), "a").await.unwrap();
    let _never_settled = sink.given().await;
    let again = sink.given().await;
    assert_eq!((again.text().as_str(), again.delivery.redelivered), ("a", true));
    again.settle(Settlement::Abandon);
    let again = sink.given().await;
    assert!(again.delivery.redelivered);
    again.settle(Settlement::Reject);
    device.until(|status| status.counters.dropped.get(&DropReason::Rejected) == Some(&1)).await;
    assert!(device.hub.status().queues.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_two_routes_take_goes_to_both() {
    let directory = tempdir().unwrap();
    let routes = json!({
        "up": "FROM /messages/modules/source/* INTO $upstream",
        "in": "FROM /messages/modules/source/* WHERE kind = 'x' INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")",
    });
    let device = Device::start(directory.path(), routes).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    let mut message = Message::new("both");
    message.properties.set("kind", "x".to_owned());
    source.send_message(message).await.unwrap();
    source.send(None, "one").await.unwrap();
    assert_eq!(texts(&device.received(2).await), ["both", "one"]);
    assert_eq!(sink.take(1).await, ["both"]);
    assert!(sink.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn changed_routes_apply_to_new_messages_alone() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink()).await;
    let source = device.connect("edge/source", &[]).await;
    source.send(Some("out"), "old").await.unwrap();
    device.route(upstream());
    device.until(|status| status.desired_version == Some(3)).await;
    source.send(Some("out"), "new").await.unwrap();
    assert_eq!(texts(&device.received(1).await), ["new"]);
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    assert_eq!(sink.take(1).await, ["old"]);
    device.until(|status| status.queues.is_empty()).await;
    assert!(sink.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn wrong_routes_leave_the_old_ones_in_force_and_are_reported() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), upstream()).await;
    device.until_reported("edge/$edgeHub", |reported| reported["lastDesiredStatus"]["code"] == 200).await;
    device.route(json!({ "new": "FROM /messages/* INTO $upstream", "bad": "FROM nowhere INTO $upstream" }));
    device.until(|status| status.desired_version == Some(3)).await;
    let status = device.hub.status();
    assert_eq!(status.routes.keys().collect::<Vec<_>>(), ["up"]);
    assert!(status.refused.is_some_and(|reason| reason.contains("bad")));
    device
        .until_reported("edge/$edgeHub", |reported| {
            reported["lastDesiredStatus"]["code"] == 400 && reported["lastDesiredVersion"] == 3
        })
        .await;
    let source = device.connect("edge/source", &[]).await;
    source.send(None, "a").await.unwrap();
    device.received(1).await;
    assert_eq!(device.hub.status().counters.routed["up"], 1);

    device.route(json!({ "new": "FROM /messages/* INTO $upstream" }));
    device.until_reported("edge/$edgeHub", |reported| reported["lastDesiredStatus"]["code"] == 200).await;
    assert_eq!(device.hub.status().refused, None);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_route_wants_is_counted() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink()).await;
    let sink = device.connect("edge/sink", &[]).await;
    sink.send(None, "a").await.unwrap();
    let status = device.hub.status();
    assert_eq!((status.counters.dropped[&DropReason::NoRoute], status.counters.accepted["edge/sink"]), (1, 1));
    assert!(status.queues.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_time_ran_out_is_counted_and_never_delivered() {
    let directory = tempdir().unwrap();
    let sink = "BrokeredEndpoint(\"/modules/sink/inputs/in1\")";
    let routes = json!({
        "short": { "route": format!("FROM /messages/modules/source/outputs/short INTO {sink}"), "timeToLiveSecs": 5 },
        "long": { "route": format!("FROM /messages/modules/source/outputs/long INTO {sink}"), "timeToLiveSecs": 500 },
    });
    let device = Device::start(directory.path(), routes).await;
    let source = device.connect("edge/source", &[]).await;
    source.send(Some("short"), "gone").await.unwrap();
    source.send(Some("long"), "kept").await.unwrap();
    // The delivery looks at the messages while they are fresh, and waits for the module.
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    assert_eq!(sink.take(1).await, ["kept"]);
    device.until(|status| status.counters.dropped.get(&DropReason::TtlExpiry) == Some(&1)).await;
    assert!(sink.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_behind_a_slow_module_is_not_delivered() {
    let directory = tempdir().unwrap();
    let route = "FROM /messages/* INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")";
    let routes = json!({ "short": { "route": route, "timeToLiveSecs": 5 } });
    let device = Device::start(directory.path(), routes).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    source.send(None, "slow").await.unwrap();
    source.send(None, "expires").await.unwrap();
    let slow = sink.given().await;
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    slow.settle(Settlement::Complete);
    device.until(|status| status.counters.dropped.get(&DropReason::TtlExpiry) == Some(&1)).await;
    assert!(sink.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_is_refused_with_all_that_came_with_it() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), upstream()).await;
    let source = device.connect("edge/source", &[]).await;
    let refused = source.send_message(Message::new(vec![b'x'; MAX_MESSAGE_BYTES + 1])).await;
    assert_eq!(refused, Err(Refusal::TooLarge { size: MAX_MESSAGE_BYTES + 1, limit: MAX_MESSAGE_BYTES }));
    let mut message = Message::new(vec![b'x'; MAX_MESSAGE_BYTES - 2]);
    message.properties.set("ab", "c".to_owned());
    assert!(matches!(source.send_message(message).await, Err(Refusal::TooLarge { .. })));
    source.send_message(Message::new(vec![b'x'; MAX_MESSAGE_BYTES])).await.unwrap();
    assert_eq!(device.received(1).await.len(), 1);
    assert_eq!(device.hub.status().counters.accepted["edge/source"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_can_be_put_into_an_input_past_all_routes() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut sink = device.connect_as("edge/sink", SessionKind::Persistent, &[Feature::Inputs]).await;
    device.hub.put_into_input(&ModuleId::new("sink").unwrap(), "in9", Message::new("x")).await.unwrap();
    let given = sink.given().await;
    assert_eq!(given.delivery.destination, Destination::Input("in9".into()));
    given.settle(Settlement::Complete);
}

#[tokio::test(start_paused = true)]
async fn two_hours_without_the_cloud_pass_in_a_moment() {
    let directory = tempdir().unwrap();
    let routes = json!({
        "short": { "route": "FROM /messages/modules/source/outputs/short INTO $upstream", "timeToLiveSecs": 3600 },
        "long": { "route": "FROM /messages/modules/source/outputs/long INTO $upstream", "timeToLiveSecs": 10_000 },
    });
    let device = Device::start(directory.path(), routes).await;
    let source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    source.twin().await;
    let early = device.authenticate("edge/sink").await.unwrap().expires_at.unwrap();
    let early = Credential::Token(token(&device.cloud, &id("edge/sink"), early));
    device.way.interrupt().await;
    source.send(Some("short"), "gone").await.unwrap();
    source.send(Some("long"), "kept").await.unwrap();
    device.desire("edge/source", json!({ "colour": "green" }));
    tokio::time::sleep(Duration::from_hours(2)).await;
    // A token ran out meanwhile; a new one is taken without the cloud.
    let refused = device.hub.authenticate(&id("edge/sink"), &early).await;
    assert!(matches!(refused, Err(Refusal::Unauthorized(_))), "{refused:?}");
    device.authenticate("edge/sink").await.unwrap();
    source.send(Some("short"), "fresh").await.unwrap();
    device.way.mend().await;
    assert_eq!(texts(&device.received(2).await), ["kept", "fresh"]);
    device.until(|status| status.counters.dropped.get(&DropReason::TtlExpiry) == Some(&1)).await;
    device.until(|status| status.queues.is_empty()).await;
    while source.twin().await["desired"]["colour"] != "green" {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
