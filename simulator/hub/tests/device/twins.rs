//! Twins across the two hubs: read, reported, wanted, with and without a way to the cloud.

use edgectl_hub::cloud::registry::Wanted;
use edgectl_hub::gateway::{Feature, Refusal, SessionKind};
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id};

#[tokio::test(start_paused = true)]
async fn a_twin_is_the_clouds_and_without_the_cloud_the_last_one_seen() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let source = device.connect("edge/source", &[]).await;
    device.desire("edge/source", json!({ "interval": 5 }));
    let expected = json!({ "desired": { "interval": 5, "$version": 2 }, "reported": { "$version": 1 } });
    assert_eq!(source.twin().await, expected);
    device.way.interrupt().await;
    device.desire("edge/source", json!({ "interval": 6 }));
    assert_eq!(source.twin().await, expected);
    let sink = device.connect("edge/sink", &[]).await;
    assert_eq!(sink.twin().await, json!({ "desired": { "$version": 0 }, "reported": { "$version": 0 } }));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_got_an_empty_twin_is_told_all_of_it_when_the_cloud_is_back() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.authenticate("edge/source").await.unwrap();
    device.way.interrupt().await;
    device.desire("edge/source", json!({ "interval": 5 }));
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    assert_eq!(source.twin().await["desired"], json!({ "$version": 0 }));
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    device.way.mend().await;
    assert_eq!(source.desired().await, json!({ "interval": 5, "$version": 2 }));
}

#[tokio::test(start_paused = true)]
async fn reported_patches_of_an_interruption_arrive_together() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let source = device.connect("edge/source", &[]).await;
    source.report(json!({ "first": 1, "gone": true })).await.unwrap();
    device.until_reported("edge/source", |reported| reported["first"] == 1).await;
    device.way.interrupt().await;
    source.report(json!({ "gone": null, "a": { "x": 1 } })).await.unwrap();
    source.report(json!({ "a": { "y": 2 }, "first": 2 })).await.unwrap();
    let reported = source.twin().await["reported"].clone();
    assert_eq!((&reported["first"], &reported["a"], reported.get("gone")), (&json!(2), &json!({"x": 1, "y": 2}), None));
    let at_cloud = || device.cloud.twin_of(&id("edge/source")).unwrap().for_device()["reported"].clone();
    assert_eq!(at_cloud()["first"], 1);

    device.way.mend().await;
    device.until_reported("edge/source", |reported| reported["first"] == 2).await;
    assert_eq!(at_cloud(), json!({ "first": 2, "a": { "x": 1, "y": 2 }, "$version": 3 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reports_that_come_at_once_are_all_kept() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let source = std::sync::Arc::new(device.connect("edge/source", &[]).await);
    let reports = (0..40).map(|number| {
        let source = std::sync::Arc::clone(&source);
        tokio::spawn(async move { source.report(json!({ number.to_string(): number })).await })
    });
    for report in reports.collect::<Vec<_>>() {
        report.await.unwrap().unwrap();
    }
    let reported = source.twin().await["reported"].clone();
    assert!((0..40).all(|number| reported[number.to_string()] == number), "{reported}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_report_is_refused_and_changes_nothing() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let source = device.connect("edge/source", &[]).await;
    for wrong in [json!([1]), json!({ "a.b": 1 }), json!({ "a": "x".repeat(4097) })] {
        assert!(matches!(source.report(wrong).await, Err(Refusal::Invalid(_))));
    }
    assert_eq!(source.twin().await["reported"], json!({ "$version": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_of_changed_desired_properties() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    source.twin().await;
    device.desire("edge/source", json!({ "a": 1, "b": { "c": 2 } }));
    assert_eq!(source.desired().await, json!({ "a": 1, "b": { "c": 2 }, "$version": 2 }));
    device.desire("edge/source", json!({ "b": null }));
    assert_eq!(source.desired().await, json!({ "b": null, "$version": 3 }));
    device.way.interrupt().await;
    assert_eq!(source.twin().await["desired"], json!({ "a": 1, "$version": 3 }));
}

#[tokio::test(start_paused = true)]
async fn a_change_before_the_cloud_knows_who_listens_is_told_though_nobody_reads_the_twin() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.desire("edge/source", json!({ "before": 1 }));
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    assert_eq!(device.way.features(&id("edge/source")), []);
    device.desire("edge/source", json!({ "after": 2 }));
    assert_eq!(source.desired().await, json!({ "after": 2, "$version": 3 }));
    device.desire("edge/source", json!({ "later": 3 }));
    assert_eq!(source.desired().await, json!({ "later": 3, "$version": 4 }));
    assert!(source.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn who_listens_without_the_cloud_is_told_all_when_it_is_back() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.authenticate("edge/source").await.unwrap();
    device.way.interrupt().await;
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    device.desire("edge/source", json!({ "a": 1 }));
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    device.way.mend().await;
    assert_eq!(source.desired().await, json!({ "a": 1, "$version": 2 }));
    assert!(source.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn who_listened_before_the_hub_ever_knew_the_twin_is_told_all_also_after_a_restart() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.authenticate("edge/source").await.unwrap();
    device.way.interrupt().await;
    let source = device.connect_as("edge/source", SessionKind::Persistent, &[Feature::DesiredProperties]).await;
    device.desire("edge/source", json!({ "a": 1 }));
    drop(source);
    device.hub.stop().await;
    drop(device);
    let device = Device::reopen(directory.path(), false).await;
    let mut source = device.connect_as("edge/source", SessionKind::Persistent, &[]).await;
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    device.way.mend().await;
    assert_eq!(source.desired().await, json!({ "a": 1, "$version": 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_versions_is_closed_by_reading_the_whole_twin() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    source.twin().await;
    device.desire("edge/source", json!({ "a": 1, "b": 1 }));
    source.desired().await;
    device.way.lose_notices(true);
    device.desire("edge/source", json!({ "a": 2, "b": null }));
    device.way.until_lost(1).await;
    device.way.lose_notices(false);
    device.desire("edge/source", json!({ "c": 3 }));
    assert_eq!(source.desired().await, json!({ "a": 2, "b": null, "c": 3, "$version": 4 }));
    assert!(source.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_was_read_slowly_does_not_undo_what_came_meanwhile() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    source.twin().await;
    device.desire("edge/source", json!({ "a": 1 }));
    source.desired().await;
    device.way.hold_twins(true);
    let (read, ()) = tokio::join!(source.twin(), async {
        // The cloud has answered already, and the answer is on its way.
        device.way.until_held(1).await;
        device.desire("edge/source", json!({ "a": 2 }));
        device.way.until_told(2).await;
        source.report(json!({ "r": 1 })).await.unwrap();
        device.until_reported("edge/source", |reported| reported["r"] == 1).await;
        device.way.hold_twins(false);
    });
    assert_eq!((&read["desired"]["a"], &read["reported"]["r"]), (&json!(2), &json!(1)));
    assert_eq!(source.desired().await, json!({ "a": 2, "$version": 3 }));
    device.way.interrupt().await;
    assert_eq!(source.twin().await["desired"], json!({ "a": 2, "$version": 3 }));
    assert!(source.is_left_alone());
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_was_made_anew_counts_again_from_the_beginning() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let source = device.connect("edge/source", &[]).await;
    for number in 0..5 {
        device.desire("edge/source", json!({ "number": number }));
    }
    assert_eq!(source.twin().await["desired"]["$version"], 6);
    device.cloud.remove_identity(&id("edge/source"), None).unwrap();
    device.cloud.put_identity(&id("edge/source"), Wanted::default(), None).unwrap();
    device.desire("edge/source", json!({ "new": true }));
    assert_eq!(source.twin().await["desired"], json!({ "new": true, "$version": 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_after_an_interruption_what_it_missed() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[Feature::DesiredProperties]).await;
    device.way.until_subscribed(&id("edge/source"), Feature::DesiredProperties).await;
    device.desire("edge/source", json!({ "a": 1 }));
    source.desired().await;
    device.way.interrupt().await;
    device.desire("edge/source", json!({ "a": 2 }));
    device.desire("edge/source", json!({ "b": 3 }));
    device.way.mend().await;
    assert_eq!(source.desired().await, json!({ "a": 2, "b": 3, "$version": 4 }));
}

#[tokio::test(start_paused = true)]
async fn the_hubs_own_configuration_of_an_interruption_comes_into_force_after_it() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.way.interrupt().await;
    device.route(json!({ "up": "FROM /messages/* INTO $upstream" }));
    device.way.mend().await;
    device.until(|status| status.routes.contains_key("up")).await;
    device.until_reported("edge/$edgeHub", |reported| reported["lastDesiredVersion"] == 3).await;
}

#[tokio::test(start_paused = true)]
async fn notices_of_reported_properties_are_routed() {
    let directory = tempdir().unwrap();
    let routes = json!({
        "changes": "FROM /twinChangeNotifications INTO BrokeredEndpoint(\"/modules/sink/inputs/changes\")",
        "up": "FROM /messages/* INTO $upstream",
    });
    let device = Device::start(directory.path(), routes).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    source.report(json!({ "a": 1 })).await.unwrap();
    let given = sink.given().await;
    assert_eq!(given.text(), r#"{"a":1}"#);
    let system = &given.delivery.message.system;
    assert_eq!(
        (system.get("messageSchema"), system.get("connectionModuleId")),
        (Some("twinChangeNotification"), Some("source"))
    );
    given.settle(edgectl_hub::gateway::Settlement::Complete);
    assert_eq!(device.hub.status().counters.routed.get("up"), None);
}

#[tokio::test(start_paused = true)]
async fn the_hub_reports_who_is_connected() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let (source, _sink) = (device.connect("edge/source", &[]).await, device.connect("edge/sink", &[]).await);
    let status = |reported: &serde_json::Value, client: &str| reported["clients"][client]["status"].clone();
    device
        .until_reported("edge/$edgeHub", |reported| {
            status(reported, "edge%2Fsource") == "Connected" && status(reported, "edge%2Fsink") == "Connected"
        })
        .await;
    source.leave().await;
    device.until_reported("edge/$edgeHub", |reported| status(reported, "edge%2Fsource") == "Disconnected").await;
}
