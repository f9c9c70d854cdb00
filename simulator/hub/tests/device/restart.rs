//! What a hub remembers when it runs again on the same directory: after an orderly end, and after none.

use std::path::Path;

use edgectl_hub::gateway::{Feature, SessionKind, Settlement};
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id, texts};

/// Runs a device to no orderly end: all its tasks vanish where they stand.
fn live_and_die<F: Future<Output = ()>>(life: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(life());
}

async fn start(directory: &Path) -> Device {
    let routes = json!({
        "up": "FROM /messages/modules/source/outputs/up INTO $upstream",
        "in": "FROM /messages/modules/source/outputs/in INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")",
    });
    Device::start(directory, routes).await
}

#[test]
fn what_was_acknowledged_is_delivered_after_an_abrupt_end() {
    let directory = tempdir().unwrap();
    live_and_die(async || {
        let device = start(directory.path()).await;
        let source = device.connect("edge/source", &[]).await;
        source.send(Some("up"), "0").await.unwrap();
        device.received(1).await;
        device.until(|status| status.queues.is_empty()).await;
        device.way.interrupt().await;
        for number in 1..50 {
            source.send(Some("up"), &number.to_string()).await.unwrap();
            source.send(Some("in"), &number.to_string()).await.unwrap();
        }
        let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
        assert_eq!(sink.take(1).await, ["1"]);
        device.until(|status| status.counters.delivered.get("edge/sink/in1") == Some(&1)).await;
        let _unsettled = sink.given().await;
    });
    live_and_die(async || {
        let device = Device::reopen(directory.path(), false).await;
        assert_eq!(device.hub.status().routes.len(), 2, "the routes are in force without the cloud");
        let source = device.connect("edge/source", &[]).await;
        source.send(Some("up"), "50").await.unwrap();
        device.way.mend().await;
        let expected: Vec<String> = (0..=50).map(|number: u32| number.to_string()).collect();
        assert_eq!(texts(&device.received(51).await), expected);
        let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
        assert_eq!(sink.take(48).await, expected[2..50]);
        device.until(|status| status.queues.is_empty()).await;
        assert!(sink.is_left_alone());
    });
}

#[test]
fn persistent_features_and_reports_outlive_the_hub() {
    let directory = tempdir().unwrap();
    live_and_die(async || {
        let device = start(directory.path()).await;
        let features = [Feature::Inputs, Feature::DesiredProperties];
        let sink = device.connect_as("edge/sink", SessionKind::Persistent, &features).await;
        let source = device.connect("edge/source", &[Feature::Methods]).await;
        sink.twin().await;
        device.way.interrupt().await;
        sink.report(json!({ "kept": true })).await.unwrap();
        source.send(Some("in"), "a").await.unwrap();
        device.hub.stop().await;
    });
    live_and_die(async || {
        let device = Device::reopen(directory.path(), true).await;
        device.until_reported("edge/sink", |reported| reported["kept"] == true).await;
        let mut sink = device.connect_as("edge/sink", SessionKind::Persistent, &[]).await;
        assert!(sink.attachment.session_present);
        assert_eq!(sink.attachment.features, [Feature::Inputs, Feature::DesiredProperties]);
        let given = sink.given().await;
        assert_eq!(given.text(), "a");
        given.settle(Settlement::Complete);
        device.way.until_subscribed(&id("edge/sink"), Feature::DesiredProperties).await;
        device.desire("edge/sink", json!({ "a": 1 }));
        assert_eq!(sink.desired().await, json!({ "a": 1, "$version": 2 }));
        let source = device.connect_as("edge/source", SessionKind::Persistent, &[]).await;
        assert!(!source.attachment.session_present, "a clean session leaves nothing");
    });
}

#[test]
fn the_cloud_hub_remembers_too() {
    let directory = tempdir().unwrap();
    live_and_die(async || {
        let device = start(directory.path()).await;
        device.desire("edge/source", json!({ "a": 1 }));
        let source = device.connect("edge/source", &[]).await;
        source.send(Some("up"), "first").await.unwrap();
        device.received(1).await;
    });
    live_and_die(async || {
        let device = Device::reopen(directory.path(), true).await;
        let source = device.connect("edge/source", &[]).await;
        assert_eq!(source.twin().await["desired"], json!({ "a": 1, "$version": 2 }));
        source.send(Some("up"), "second").await.unwrap();
        let events = device.received(2).await;
        assert_eq!(texts(&events).last().map(String::as_str), Some("second"));
        let numbers: Vec<u64> = events.iter().map(|event| event.sequence_number).collect();
        assert!(numbers.is_sorted() && numbers.len() == 2, "{numbers:?}");
    });
}
