//! Direct methods: from the cloud and from module to module.

use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::gateway::{Feature, Gateway as _, Refusal};
use edgectl_hub::method::{MAX_PAYLOAD_BYTES, MethodRequest, MethodResponse};
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id};

fn request(connect_seconds: u64) -> MethodRequest {
    MethodRequest {
        name: "poke".to_owned(),
        payload: Bytes::from_static(b"{\"a\":1}"),
        response_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(connect_seconds),
    }
}

fn response() -> MethodResponse {
    MethodResponse { status: 207, payload: Bytes::from_static(b"\"done\"") }
}

#[tokio::test(start_paused = true)]
async fn the_cloud_calls_a_module() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[Feature::Methods]).await;
    device.way.until_subscribed(&id("edge/source"), Feature::Methods).await;
    let target = id("edge/source");
    let (answer, ()) = tokio::join!(device.cloud.call(&target, request(0)), async {
        let call = source.call().await;
        assert_eq!((call.request.name.as_str(), &call.request.payload[..]), ("poke", &b"{\"a\":1}"[..]));
        call.answer.send(response()).unwrap();
    });
    assert_eq!(answer, Ok(response()));
}

#[tokio::test(start_paused = true)]
async fn a_caller_can_wait_for_a_module_to_connect() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let target = id("edge/source");
    assert_eq!(device.cloud.call(&target, request(0)).await, Err(Refusal::NotConnected(target.clone())));
    assert_eq!(device.cloud.call(&target, request(10)).await, Err(Refusal::NotConnected(target.clone())));
    let (answer, ()) = tokio::join!(device.cloud.call(&target, request(10)), async {
        let mut source = device.connect("edge/source", &[Feature::Methods]).await;
        source.call().await.answer.send(response()).unwrap();
    });
    assert_eq!(answer, Ok(response()));
}

#[tokio::test(start_paused = true)]
async fn a_module_that_does_not_answer_or_goes_away_is_told_of() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[Feature::Methods]).await;
    let target = id("edge/source");
    device.way.until_subscribed(&target, Feature::Methods).await;
    let (answer, _kept) = tokio::join!(device.cloud.call(&target, request(0)), source.call());
    assert_eq!(answer, Err(Refusal::NoAnswer(target.clone())));
    let (answer, ()) = tokio::join!(device.cloud.call(&target, request(0)), async { drop(source.call().await) });
    assert_eq!(answer, Err(Refusal::NoAnswer(target.clone())));
    source.leave().await;
    device.way.until_left(&target).await;
    assert_eq!(device.cloud.call(&target, request(0)).await, Err(Refusal::NotConnected(target)));
}

#[tokio::test(start_paused = true)]
async fn a_module_calls_another_without_the_cloud() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.way.interrupt().await;
    let source = device.connect("edge/source", &[]).await;
    let mut sink = device.connect("edge/sink", &[Feature::Methods]).await;
    let (caller, target) = (&source.attachment.client, id("edge/sink"));
    let (answer, ()) = tokio::join!(device.hub.invoke(caller, &target, request(0)), async {
        sink.call().await.answer.send(response()).unwrap();
    });
    assert_eq!(answer, Ok(response()));
    let absent = id("edge/source");
    assert_eq!(device.hub.invoke(caller, &absent, request(5)).await, Err(Refusal::NotConnected(absent)));
    let large = MethodRequest { payload: vec![b'1'; MAX_PAYLOAD_BYTES + 1].into(), ..request(0) };
    assert!(matches!(device.hub.invoke(caller, &target, large).await, Err(Refusal::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_what_is_not_registered_is_refused() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    assert!(matches!(device.cloud.call(&id("edge/nobody"), request(5)).await, Err(Refusal::NotFound(_))));
    let own = device.cloud.call(&id("edge/$edgeHub"), request(5)).await;
    assert!(own.is_err() || own.is_ok_and(|answer| answer.status == 404));
}
