//! Leaf devices: messages from the cloud, methods and twins through the edge hub.

use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::cloud::cloud_to_device::{LOCK_TIME, MAX_DELIVERIES};
use edgectl_hub::cloud::registry::{Condition, Wanted};
use edgectl_hub::gateway::{
    CloseReason, Credential, Destination, Feature, Gateway as _, Refusal, SessionKind, Settlement,
};
use edgectl_hub::message::system;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id, texts, token};
use super::peer::Peer;

async fn with_leaf(directory: &std::path::Path) -> Device {
    let device = Device::start(directory, json!({ "up": "FROM /messages/* INTO $upstream" })).await;
    device.add_leaf("leaf");
    device
}

fn waiting(device: &Device) -> usize {
    device.cloud.messages().count(&id("leaf").device)
}

/// Waits until nothing waits for a device.
pub async fn until_empty(device: &Device, name: &str) {
    while device.cloud.messages().count(&id(name).device) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_reach_a_leaf_device_in_order_and_leave_the_queue_when_it_settles_them() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    for text in ["a", "b", "c"] {
        device.send_to("leaf", text);
    }
    let mut leaf = device.connect("leaf", &[Feature::CloudToDevice]).await;
    let first = leaf.given().await;
    assert_eq!((first.text().as_str(), &first.delivery.destination), ("a", &Destination::CloudToDevice));
    let system = &first.delivery.message.system;
    assert_eq!(system.get(system::TO), Some("/devices/leaf/messages/deviceBound"));
    assert_eq!((first.delivery.redelivered, waiting(&device)), (false, 3));
    first.settle(Settlement::Complete);
    let second = leaf.given().await;
    assert_eq!((second.text().as_str(), waiting(&device)), ("b", 2));
    second.settle(Settlement::Reject);
    assert_eq!(leaf.take(1).await, ["c"]);
    device.send_to("leaf", "d");
    assert_eq!(leaf.take(1).await, ["d"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_leaf_device_gives_back_comes_again_until_it_is_given_up() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    device.send_to("leaf", "bad");
    device.send_to("leaf", "good");
    let mut leaf = device.connect("leaf", &[Feature::CloudToDevice]).await;
    for number in 0..MAX_DELIVERIES {
        let given = leaf.given().await;
        assert_eq!((given.text().as_str(), given.delivery.redelivered), ("bad", number > 0));
        given.settle(Settlement::Abandon);
    }
    assert_eq!(leaf.take(1).await, ["good"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_settled_comes_again_when_its_lock_ends() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    device.send_to("leaf", "a");
    let mut leaf = device.connect("leaf", &[Feature::CloudToDevice]).await;
    let silent = leaf.given().await;
    let before = tokio::time::Instant::now();
    let again = leaf.given().await;
    assert!(before.elapsed() >= LOCK_TIME);
    assert!(again.delivery.redelivered);
    again.settle(Settlement::Complete);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_leaf_device_that_is_away_and_for_a_cloud_that_is() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    let mut leaf = device.connect_as("leaf", SessionKind::Persistent, &[Feature::CloudToDevice]).await;
    device.send_to("leaf", "a");
    let unsettled = leaf.given().await;
    drop(unsettled);
    leaf.leave().await;
    device.way.until_left(&id("leaf")).await;
    device.send_to("leaf", "b");
    // Being away, however long within its time to live, uses up no deliveries.
    tokio::time::advance(LOCK_TIME * 20).await;
    device.way.interrupt().await;
    let mut leaf = device.connect_as("leaf", SessionKind::Persistent, &[]).await;
    assert_eq!(leaf.attachment.features, [Feature::CloudToDevice]);
    device.way.mend().await;
    let again = leaf.given().await;
    assert_eq!((again.text().as_str(), again.delivery.redelivered), ("a", true));
    again.settle(Settlement::Complete);
    assert_eq!(leaf.take(1).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_connects_directly_gets_its_messages_too_and_only_while_it_wants_them() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let credential = Credential::Token(token(&device.cloud, &id("stranger"), u64::MAX / 2));
    let client = device.cloud.authenticate(&id("stranger"), &credential).await.unwrap();
    let mut first = Peer::attach(device.cloud.clone() as _, &client, SessionKind::Persistent).await;
    first.subscribe(Feature::CloudToDevice).await.unwrap();
    device.send_to("stranger", "a");
    let unsettled = first.given().await;
    // A second connection takes over, with what the first did not settle.
    let mut second = Peer::attach(device.cloud.clone() as _, &client, SessionKind::Persistent).await;
    assert_eq!(first.closed().await, CloseReason::TakenOver);
    drop(unsettled);
    first.leave().await;
    let again = second.given().await;
    assert!(again.delivery.redelivered);
    again.settle(Settlement::Complete);
    until_empty(&device, "stranger").await;
    second.unsubscribe(Feature::CloudToDevice).await.unwrap();
    device.send_to("stranger", "b");
    tokio::time::advance(LOCK_TIME).await;
    assert!(second.is_left_alone());
    second.subscribe(Feature::CloudToDevice).await.unwrap();
    assert_eq!(second.take(1).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_cloud_calls_methods_of_a_leaf_device_many_at_once() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    let mut leaf = device.connect("leaf", &[Feature::Methods]).await;
    device.way.until_subscribed(&id("leaf"), Feature::Methods).await;
    let request = |number: u32| MethodRequest {
        name: "echo".to_owned(),
        payload: number.to_string().into(),
        response_timeout: Duration::from_secs(30),
        connect_timeout: Duration::ZERO,
    };
    let calls = (0..20).map(|number| {
        let cloud = device.cloud.clone();
        tokio::spawn(async move { cloud.call(&id("leaf"), request(number)).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(leaf.call().await);
    }
    // The last question is answered first.
    for call in asked.into_iter().rev() {
        call.answer.send(MethodResponse { status: 200, payload: call.request.payload.clone() }).unwrap();
    }
    for (number, call) in calls.into_iter().enumerate() {
        let payload = Bytes::from(number.to_string());
        assert_eq!(call.await.unwrap(), Ok(MethodResponse { status: 200, payload }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_switched_on_and_off_last_is_in_force_at_the_cloud() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    for round in 0..20 {
        let leaf = device.connect("leaf", &[]).await;
        for _ in 0..round % 4 {
            leaf.subscribe(Feature::Methods).await.unwrap();
            leaf.unsubscribe(Feature::Methods).await.unwrap();
        }
        leaf.subscribe(Feature::CloudToDevice).await.unwrap();
        leaf.unsubscribe(Feature::CloudToDevice).await.unwrap();
        leaf.subscribe(Feature::DesiredProperties).await.unwrap();
        let expected = [Feature::DesiredProperties];
        device.way.until(|| device.way.features(&id("leaf")) == expected).await;
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(device.way.features(&id("leaf")), expected);
        leaf.leave().await;
        device.way.until_left(&id("leaf")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_passes_costs_no_message_and_one_for_a_removed_device_stops_nobody_else() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    let leaf = device.connect("leaf", &[]).await;
    let source = device.connect("edge/source", &[]).await;
    device.way.interrupt().await;
    leaf.send(None, "kept").await.unwrap();
    source.send(None, "after it").await.unwrap();
    device.way.refuse(Some(Refusal::Unauthorized("for a while".to_owned())));
    device.way.mend().await;
    tokio::time::advance(Duration::from_mins(3)).await;
    device.way.until_refused(3).await;
    device.way.refuse(None);
    assert_eq!(texts(&device.received(2).await), ["kept", "after it"]);

    device.way.interrupt().await;
    leaf.send(None, "of nobody").await.unwrap();
    source.send(None, "of somebody").await.unwrap();
    device.cloud.remove_identity(&id("leaf"), None).unwrap();
    device.way.refuse(Some(Refusal::Unauthorized("unknown".to_owned())));
    device.way.mend().await;
    device.way.until_refused(4).await;
    device.way.refuse(None);
    assert_eq!(texts(&device.received(3).await).last().map(String::as_str), Some("of somebody"));
}

#[tokio::test(start_paused = true)]
async fn a_leaf_device_that_is_removed_or_disabled_loses_its_connection_to_the_edge_hub() {
    let directory = tempdir().unwrap();
    let device = with_leaf(directory.path()).await;
    let mut leaf = device.connect("leaf", &[]).await;
    let disabled = Wanted { enabled: Some(false), ..Wanted::default() };
    device.cloud.put_identity(&id("leaf"), disabled, Some(Condition::Present)).unwrap();
    let refresh = |payload: &'static str| MethodRequest {
        name: "refreshDeviceScopeIdentityCache".to_owned(),
        payload: payload.into(),
        response_timeout: Duration::from_secs(30),
        connect_timeout: Duration::ZERO,
    };
    device.way.until_subscribed(&id("edge/$edgeHub"), Feature::Methods).await;
    let call = async |payload| device.cloud.call(&id("edge/$edgeHub"), refresh(payload)).await.unwrap().status;
    assert_eq!(call("{}").await, 400);
    assert_eq!(call(r#"{"deviceIds": ["leaf"]}"#).await, 200);
    assert_eq!(leaf.closed().await, CloseReason::Unauthorized);

    let enabled = Wanted { enabled: Some(true), ..Wanted::default() };
    device.cloud.put_identity(&id("leaf"), enabled, Some(Condition::Present)).unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    let mut leaf = device.connect("leaf", &[]).await;
    device.cloud.remove_identity(&id("leaf"), None).unwrap();
    // Nobody says so; the hub looks by itself.
    for _ in 0..4 {
        tokio::time::advance(Duration::from_mins(30)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(leaf.closed().await, CloseReason::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn a_service_waits_for_no_client_and_one_that_takes_nothing_is_cut_off() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let credential = Credential::Token(token(&device.cloud, &id("stranger"), u64::MAX / 2));
    let client = device.cloud.authenticate(&id("stranger"), &credential).await.unwrap();
    let mut slow = Peer::attach_slow(device.cloud.clone() as _, &client).await;
    slow.subscribe(Feature::DesiredProperties).await.unwrap();
    for number in 0..100 {
        device.desire("stranger", json!({ "number": number }));
    }
    assert_eq!(slow.closed().await, CloseReason::FellBehind);
}
