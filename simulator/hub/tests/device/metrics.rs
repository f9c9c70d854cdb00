//! Metrics: what the real hub's names and labels say after things happened.

use std::time::Duration;

use edgectl_hub::gateway::{Credential, Feature, Gateway as _, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_hub::metrics::family::Sample;
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id};

/// The samples of a name whose labels hold these.
fn samples(device: &Device, name: &str, labels: &[(&str, &str)]) -> Vec<Sample> {
    let all = device.hub.metrics().into_iter().flat_map(|family| family.samples);
    let holds = |sample: &Sample| {
        labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
    };
    all.filter(|sample| sample.name == name && holds(sample)).collect()
}

/// The one value of a name with these labels; none if there is none.
fn value(device: &Device, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let samples = samples(device, name, labels);
    assert!(samples.len() <= 1, "{samples:#?}");
    samples.first().and_then(|sample| sample.value)
}

fn to_sink_and_up() -> serde_json::Value {
    json!({
        "in": {
            "route": "FROM /messages/modules/source/outputs/out INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")",
            "priority": 3, "timeToLiveSecs": 20,
        },
        "up": "FROM /messages/modules/source/outputs/up INTO $upstream",
    })
}

#[tokio::test(start_paused = true)]
async fn messages_are_counted_by_where_they_come_from_and_go_to() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink_and_up()).await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    for output in [Some("out"), Some("up"), Some("up"), Some("nowhere"), None] {
        source.send(output, "12345").await.unwrap();
    }
    let given = sink.given().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    given.settle(Settlement::Complete);
    device.received(2).await;
    device.until(|status| status.queues.is_empty()).await;

    let received = |output| value(&device, "edgehub_messages_received_total", &[("route_output", output)]);
    assert_eq!(["out", "up", "nowhere", ""].map(received), [Some(1.0), Some(2.0), Some(1.0), Some(1.0)]);
    let dropped = |output| {
        let labels = [("reason", "no_route"), ("from", "edge/source"), ("from_route_output", output)];
        value(&device, "edgehub_messages_dropped_total", &labels)
    };
    assert_eq!(["out", "nowhere", ""].map(dropped), [None, Some(1.0), Some(1.0)]);
    let sink = [("from", "edge/source"), ("from_route_output", "out"), ("to", "edge/sink"), ("to_route_input", "in1")];
    assert_eq!(value(&device, "edgehub_messages_sent_total", &[&sink[..], &[("priority", "3")]].concat()), Some(1.0));
    let up = [("from", "edge/source"), ("from_route_output", "up"), ("to", "upstream"), ("to_route_input", "")];
    let priority = [&up[..], &[("priority", "2000000000"), ("ms_telemetry", "True")]].concat();
    assert_eq!(value(&device, "edgehub_messages_sent_total", &priority), Some(2.0));
    assert_eq!(value(&device, "edgehub_message_send_duration_seconds_count", &up), Some(2.0));
    assert_eq!(value(&device, "edgehub_message_send_duration_seconds_sum", &sink), Some(2.0));
    let process = [("to", "edge/sink"), ("priority", "3"), ("quantile", "0.5")];
    assert_eq!(value(&device, "edgehub_message_process_duration_seconds", &process), Some(2.0));
    assert_eq!(value(&device, "edgehub_message_size_bytes_count", &[("id", "edge/source")]), Some(5.0));
    let queue = [("endpoint", "edge/sink/in1"), ("priority", "3")];
    assert_eq!(value(&device, "edgehub_queue_length", &queue), Some(0.0));
    assert_eq!(value(&device, "edgehub_connected_clients", &[]), Some(2.0));
}

#[tokio::test(start_paused = true)]
async fn quantiles_are_no_numbers_after_ten_minutes_without_a_message() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink_and_up()).await;
    let source = device.connect("edge/source", &[]).await;
    let mut message = Message::new("12345");
    message.system.set(system::MESSAGE_ID, "7".to_owned());
    source.send_message(message).await.unwrap();
    let quantile = || {
        let quantiles = samples(&device, "edgehub_message_size_bytes", &[("id", "edge/source")]);
        assert_eq!(quantiles.len(), 6);
        quantiles.into_iter().map(|sample| sample.value).collect::<Vec<_>>()
    };
    // The body, and the name and value of its one property.
    assert_eq!(quantile(), [Some(15.0); 6]);
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(quantile(), [Some(15.0); 6]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(quantile(), [None; 6]);
    assert_eq!(value(&device, "edgehub_message_size_bytes_sum", &[("id", "edge/source")]), Some(15.0));
}

#[tokio::test(start_paused = true)]
async fn what_expires_is_counted_with_its_sender_whether_somebody_comes_for_it_or_not() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink_and_up()).await;
    let source = device.connect("edge/source", &[]).await;
    let expired = || {
        let labels = [("reason", "ttl_expiry"), ("from", "edge/source"), ("from_route_output", "out")];
        value(&device, "edgehub_messages_dropped_total", &labels)
    };
    let waiting = || value(&device, "edgehub_queue_length", &[("endpoint", "edge/sink/in1")]);
    source.send(Some("out"), "1").await.unwrap();
    source.send(Some("out"), "2").await.unwrap();
    assert_eq!((expired(), waiting()), (None, Some(2.0)));
    tokio::time::advance(Duration::from_secs(21)).await;
    let mut sink = device.connect("edge/sink", &[Feature::Inputs]).await;
    source.send(Some("out"), "3").await.unwrap();
    assert_eq!(sink.take(1).await, ["3"]);
    device.until(|status| status.queues.is_empty()).await;
    assert_eq!((expired(), waiting()), (Some(2.0), Some(0.0)));

    // Without its input the module is waited for, and nobody comes for the message.
    sink.leave().await;
    source.send(Some("out"), "4").await.unwrap();
    assert_eq!(waiting(), Some(1.0));
    device.until(|status| status.queues.is_empty()).await;
    assert_eq!((expired(), waiting()), (Some(3.0), Some(0.0)));
}

#[tokio::test(start_paused = true)]
async fn connections_twins_and_the_hub_above_are_counted() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), to_sink_and_up()).await;
    let source = device.connect("edge/source", &[]).await;
    device.hub.authenticate(&id("edge/sink"), &Credential::Token("nonsense".to_owned())).await.unwrap_err();
    let of_source = [("id", "edge/source")];
    assert_eq!(value(&device, "edgehub_client_connect_success_total", &of_source), Some(1.0));
    let refused = [("id", "edge/sink"), ("reason", "not_authenticated")];
    assert_eq!(value(&device, "edgehub_client_connect_failed_total", &refused), Some(1.0));
    let read = |from| value(&device, "edgehub_gettwin_total", &[("source", from), ("id", "edge/source")]);
    source.twin().await;
    assert_eq!(["upstream", "edge_hub"].map(read), [Some(1.0), None]);

    device.way.interrupt().await;
    source.twin().await;
    assert_eq!(["upstream", "edge_hub"].map(read), [Some(1.0), Some(1.0)]);
    source.report(json!({ "n": 1 })).await.unwrap();
    let reported = |to| value(&device, "edgehub_reported_properties_total", &[("target", to), ("id", "edge/source")]);
    assert_eq!(["upstream", "edge_hub"].map(reported), [None, Some(1.0)]);
    tokio::time::advance(Duration::from_secs(90)).await;
    device.way.mend().await;
    device.until_reported("edge/source", |reported| reported["n"] == 1).await;
    assert_eq!(["upstream", "edge_hub"].map(reported), [Some(1.0), Some(1.0)]);
    let own = [("id", "edge/$edgeHub")];
    assert_eq!(value(&device, "edgehub_offline_count_total", &own), Some(1.0));
    let offline = value(&device, "edgehub_offline_duration_seconds_sum", &own).unwrap();
    assert!((90.0..91.0).contains(&offline), "{offline}");

    source.leave().await;
    assert_eq!(value(&device, "edgehub_client_disconnect_total", &of_source), Some(1.0));
}
