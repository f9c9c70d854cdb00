//! Who may connect, and what a second connection means for the first.

use edgectl_hub::cloud::registry::{Condition, Wanted};
use edgectl_hub::gateway::{CloseReason, Credential, Feature, Gateway as _, Refusal, SessionKind, Settlement};
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id, token};

#[tokio::test(start_paused = true)]
async fn a_second_connection_takes_over_with_what_was_not_settled() {
    let directory = tempdir().unwrap();
    let routes = json!({ "in": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/sink/inputs/in1\")" });
    let device = Device::start(directory.path(), routes).await;
    let source = device.connect("edge/source", &[]).await;
    let mut first = device.connect_as("edge/sink", SessionKind::Persistent, &[Feature::Inputs]).await;
    source.send(None, "a").await.unwrap();
    let unsettled = first.given().await;
    let mut second = device.connect_as("edge/sink", SessionKind::Persistent, &[]).await;
    assert!(second.attachment.session_present);
    assert_eq!(second.attachment.features, [Feature::Inputs]);
    assert_eq!(first.closed().await, CloseReason::TakenOver);
    assert_eq!(first.subscribe(Feature::Methods).await, Err(Refusal::Detached));
    drop(unsettled);
    first.leave().await;

    let again = second.given().await;
    assert_eq!((again.text().as_str(), again.delivery.redelivered), ("a", true));
    again.settle(Settlement::Complete);
    assert!(device.hub.status().clients.contains(&id("edge/sink")), "the end of the first is not that of the second");
}

#[tokio::test(start_paused = true)]
async fn only_members_of_the_device_connect_and_only_with_their_own_token() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.authenticate("edge/source").await.unwrap();
    assert!(matches!(device.authenticate("stranger").await, Err(Refusal::Unauthorized(_))));
    let token_of = |identity: &str, expires| Credential::Token(token(&device.cloud, &id(identity), expires));
    let checked = async |credential| device.hub.authenticate(&id("edge/source"), &credential).await;
    assert!(matches!(checked(token_of("edge/sink", u64::MAX / 2)).await, Err(Refusal::Unauthorized(_))));
    assert!(matches!(checked(token_of("edge/source", 1_700_000_000)).await, Err(Refusal::Unauthorized(_))));
    assert!(matches!(checked(Credential::Token("nonsense".to_owned())).await, Err(Refusal::Unauthorized(_))));
    assert!(matches!(checked(Credential::Certificate(Vec::new())).await, Err(Refusal::Unauthorized(_))));
    checked(token_of("edge", u64::MAX / 2)).await.expect("a device's key signs for its modules");
}

#[tokio::test(start_paused = true)]
async fn those_who_connected_before_connect_again_without_the_cloud() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.authenticate("edge/source").await.unwrap();
    device.way.interrupt().await;
    device.authenticate("edge/source").await.unwrap();
    device.cloud.put_identity(&id("edge/late"), Wanted::default(), None).unwrap();
    assert!(device.authenticate("edge/late").await.is_err());
    device.way.mend().await;
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    device.authenticate("edge/late").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_edge_hub_acts_for_its_own_clients_and_no_others() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let scope = device.cloud.registry().require(&id("edge")).unwrap().scope;
    device.cloud.put_identity(&id("leaf"), Wanted { scope, ..Wanted::default() }, None).unwrap();
    let own = token(&device.cloud, &id("edge/$edgeHub"), u64::MAX / 2);
    let act = async |identity: &str, token: &str, chain: &str| {
        let credential = Credential::OnBehalfOf { token: token.to_owned(), chain: chain.to_owned() };
        device.cloud.authenticate(&id(identity), &credential).await.map(|client| client.identity)
    };
    assert_eq!(act("edge/source", &own, "edge/source;edge").await, Ok(id("edge/source")));
    assert_eq!(act("leaf", &own, "leaf;edge").await, Ok(id("leaf")));
    for (identity, chain) in [
        ("stranger", "stranger;edge"),
        ("edge/nobody", "edge/nobody;edge"),
        ("edge/source", "edge/sink;edge"),
        ("edge/source", ""),
        ("edge/source", "edge/source;stranger"),
        ("stranger", "stranger;stranger"),
    ] {
        assert!(matches!(act(identity, &own, chain).await, Err(Refusal::Unauthorized(_) | Refusal::NotFound(_))));
    }
    let modules_own = token(&device.cloud, &id("edge/sink"), u64::MAX / 2);
    assert!(act("edge/source", &modules_own, "edge/source;edge").await.is_err(), "a module is no edge hub");
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_is_disabled_or_removed_loses_its_connection() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let cloud = &device.cloud;
    let stranger = id("stranger");
    let credential = Credential::Token(token(cloud, &stranger, u64::MAX / 2));
    let client = cloud.authenticate(&stranger, &credential).await.unwrap();
    let mut peer = super::peer::Peer::attach(cloud.clone() as _, &client, SessionKind::Persistent).await;
    let disabled = Wanted { enabled: Some(false), ..Wanted::default() };
    cloud.put_identity(&stranger, disabled, Some(Condition::Present)).unwrap();
    assert_eq!(peer.closed().await, CloseReason::Unauthorized);
    assert!(matches!(cloud.authenticate(&stranger, &credential).await, Err(Refusal::Unauthorized(_))));
    cloud.remove_identity(&stranger, None).unwrap();
    assert!(matches!(cloud.authenticate(&stranger, &credential).await, Err(Refusal::Unauthorized(_))));
}

#[tokio::test(start_paused = true)]
async fn stopping_the_hub_closes_its_connections() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[]).await;
    device.hub.stop().await;
    assert_eq!(source.closed().await, CloseReason::ShuttingDown);
}
