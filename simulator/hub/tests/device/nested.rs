//! Edge devices below each other: `child` under `edge`, `grandchild` under `child`, and their leaf devices.

use std::path::Path;
use std::time::Duration;

use edgectl_hub::cloud::registry::Wanted;
use edgectl_hub::gateway::{Credential, Feature, Gateway as _, Refusal};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::device::{Device, id, texts, token};
use super::leaves::until_empty;

fn upstream() -> Value {
    json!({ "up": "FROM /messages/* INTO $upstream" })
}

/// A device, one below it, and one below that.
async fn three(directory: &Path) -> [Device; 3] {
    let edge = Device::start(directory, upstream()).await;
    let child = edge.start_below(directory, "child", upstream()).await;
    let grandchild = child.start_below(directory, "grandchild", upstream()).await;
    [edge, child, grandchild]
}

#[tokio::test(start_paused = true)]
async fn a_message_travels_from_a_leaf_device_through_all_hubs_to_the_cloud() {
    let directory = tempdir().unwrap();
    let [edge, child, grandchild] = three(directory.path()).await;
    grandchild.add_leaf("leaf");
    let leaf = grandchild.connect("leaf", &[]).await;
    leaf.send(None, "from the leaf").await.unwrap();
    let source = grandchild.connect("grandchild/source", &[]).await;
    source.send(Some("out"), "from the module").await.unwrap();
    let received = edge.received(2).await;
    assert_eq!(texts(&received), ["from the leaf", "from the module"]);
    assert_eq!((received[0].device_id.as_str(), received[0].module_id.as_deref()), ("leaf", None));
    assert_eq!((received[1].device_id.as_str(), received[1].module_id.as_deref()), ("grandchild", Some("source")));
    for device in [&edge, &child] {
        assert!(device.hub.status().clients.contains(&id("leaf")));
        assert!(device.hub.status().clients.contains(&id("grandchild/source")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_a_hub_in_the_middle_is_cut_off_arrives_in_order() {
    let directory = tempdir().unwrap();
    let [edge, child, grandchild] = three(directory.path()).await;
    grandchild.add_leaf("leaf");
    let leaf = grandchild.connect("leaf", &[]).await;
    leaf.send(None, "0").await.unwrap();
    edge.received(1).await;
    child.way.interrupt().await;
    for number in 1..30 {
        leaf.send(None, &number.to_string()).await.unwrap();
    }
    child.until(|status| status.queues.get("iothub").is_some_and(|waiting| *waiting >= 29)).await;
    child.way.mend().await;
    let expected: Vec<String> = (0..30).map(|number: u32| number.to_string()).collect();
    assert_eq!(texts(&edge.received(30).await), expected);
}

#[tokio::test(start_paused = true)]
async fn messages_methods_and_twins_come_down_to_the_lowest() {
    let directory = tempdir().unwrap();
    let [edge, _child, grandchild] = three(directory.path()).await;
    grandchild.add_leaf("leaf");
    let features = [Feature::CloudToDevice, Feature::Methods, Feature::DesiredProperties];
    let mut leaf = grandchild.connect("leaf", &features).await;
    edge.way.until_subscribed(&id("leaf"), Feature::CloudToDevice).await;
    edge.way.until_subscribed(&id("leaf"), Feature::Methods).await;
    edge.way.until_subscribed(&id("leaf"), Feature::DesiredProperties).await;
    edge.send_to("leaf", "hello");
    assert_eq!(leaf.take(1).await, ["hello"]);
    until_empty(&edge, "leaf").await;

    let request = MethodRequest {
        name: "poke".to_owned(),
        payload: "1".into(),
        response_timeout: Duration::from_secs(30),
        connect_timeout: Duration::ZERO,
    };
    let response = MethodResponse { status: 200, payload: "2".into() };
    let target = id("leaf");
    let (answer, ()) = tokio::join!(edge.cloud.call(&target, request), async {
        leaf.call().await.answer.send(response.clone()).unwrap();
    });
    assert_eq!(answer, Ok(response));

    leaf.twin().await;
    edge.desire("leaf", json!({ "interval": 5 }));
    assert_eq!(leaf.desired().await, json!({ "interval": 5, "$version": 2 }));
    leaf.report(json!({ "interval": 5 })).await.unwrap();
    edge.until_reported("leaf", |reported| reported["interval"] == 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_acts_for_those_below_it_and_for_no_others() {
    let directory = tempdir().unwrap();
    let [edge, child, grandchild] = three(directory.path()).await;
    let sister = edge.start_below(directory.path(), "sister", upstream()).await;
    grandchild.add_leaf("leaf");
    sister.add_leaf("other");
    for device in [&edge, &child] {
        device.hub.scope().refresh().await.unwrap();
    }
    let act = async |hub: &Device, identity: &str, actor: &str, chain: &str| {
        let token = token(&edge.cloud, &id(&format!("{actor}/$edgeHub")), u64::MAX / 2);
        let credential = Credential::OnBehalfOf { token, chain: chain.to_owned() };
        hub.hub.authenticate(&id(identity), &credential).await.map(|client| client.identity)
    };
    assert_eq!(act(&child, "leaf", "grandchild", "leaf;grandchild").await, Ok(id("leaf")));
    assert_eq!(act(&edge, "leaf", "child", "leaf;grandchild;child").await, Ok(id("leaf")));
    let module = "grandchild/source;grandchild;child";
    assert_eq!(act(&edge, "grandchild/source", "child", module).await, Ok(id("grandchild/source")));
    for (identity, actor, chain) in [
        // A hub beside it, a hub that leaves one out, a hub above, an invented way, and a wrong signature.
        ("other", "child", "other;child"),
        ("leaf", "child", "leaf;child"),
        ("leaf", "sister", "leaf;grandchild;sister"),
        ("leaf", "edge", "leaf;grandchild;child;edge"),
        ("edge/source", "child", "edge/source;edge;child"),
        ("leaf", "sister", "leaf;grandchild;child"),
        ("leaf", "child", ""),
    ] {
        let refused = act(&edge, identity, actor, chain).await;
        assert!(matches!(refused, Err(Refusal::Unauthorized(_))), "{chain} {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_were_known_connect_below_while_the_cloud_is_away() {
    let directory = tempdir().unwrap();
    let [edge, child, grandchild] = three(directory.path()).await;
    grandchild.add_leaf("leaf");
    let first = grandchild.connect("leaf", &[]).await;
    first.send(None, "a").await.unwrap();
    edge.received(1).await;
    first.leave().await;
    edge.way.interrupt().await;
    let again = grandchild.connect("leaf", &[]).await;
    again.send(None, "b").await.unwrap();
    child.until(|status| status.counters.delivered.get("iothub") == Some(&2)).await;
    edge.way.mend().await;
    assert_eq!(texts(&edge.received(2).await), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_registry_keeps_the_family_in_order() {
    let directory = tempdir().unwrap();
    let [edge, ..] = three(directory.path()).await;
    let scope = |device: &str| edge.cloud.registry().require(&id(device)).unwrap().scope.clone().into_iter().collect();
    let present = Some(edgectl_hub::cloud::registry::Condition::Present);
    let put = |device: &str, parents: Vec<String>| {
        let wanted = Wanted { edge: Some(true), parents: Some(parents), ..Wanted::default() };
        let condition = edge.cloud.registry().get(&id(device)).and(present);
        edge.cloud.put_identity(&id(device), wanted, condition).map(|_| ())
    };
    assert!(put("new", vec!["ms-azure-iot-edge://nobody-1".to_owned()]).is_err());
    assert!(put("edge", scope("grandchild")).is_err(), "a circle");
    put("great", scope("grandchild")).unwrap();
    put("greater", scope("great")).unwrap();
    assert!(put("greatest", scope("greater")).is_err(), "too deep");
}
