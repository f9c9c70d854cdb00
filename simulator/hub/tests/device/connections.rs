//! Who may connect, and what a second connection means for the first.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::auth::Authentication;
use edgectl_hub::certificate::ClientCertificate;
use edgectl_hub::cloud::registry::{Condition, Wanted, new_key};
use edgectl_hub::gateway::{Client, CloseReason, Credential, Feature, Gateway as _, Refusal, SessionKind, Settlement};
use serde_json::json;
use tempfile::tempdir;

use super::device::{Device, id, token};
use super::peer::Peer;

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
    let certificate = Credential::Certificate(certificate("source"));
    assert!(matches!(checked(certificate).await, Err(Refusal::Unauthorized(_))), "modules have tokens");
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
    let scope = device.cloud.registry().require(&id("edge")).unwrap().scope.clone();
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

/// A certificate that an authority of the hub signed.
fn certificate(common_name: &str) -> ClientCertificate {
    ClientCertificate {
        common_name: Some(common_name.to_owned()),
        thumbprints: ["AA".repeat(20), "BB".repeat(32)],
        valid_from: 0,
        valid_until: u64::MAX / 2,
        is_vouched_for: true,
        chain: edgectl_hub::certificate::Chain::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_leaf_device_connects_with_its_certificate() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let scope = device.cloud.registry().require(&id("edge")).unwrap().scope.clone();
    let leaf = |name: &str, authentication| {
        let wanted = Wanted { scope: scope.clone(), authentication: Some(authentication), ..Wanted::default() };
        device.cloud.put_identity(&id(name), wanted, None).unwrap();
    };
    leaf("vouched", Authentication::CertificateAuthority);
    let (primary_thumbprint, secondary_thumbprint) = ("CC".repeat(20), "BB".repeat(32));
    leaf("known", Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint });
    let (primary_thumbprint, secondary_thumbprint) = ("CC".repeat(20), String::new());
    leaf("unknown", Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint });
    let checked = async |name: &str, certificate| {
        let checked = device.hub.authenticate(&id(name), &Credential::Certificate(certificate)).await;
        checked.map(|client| client.expires_at)
    };
    let strange = ClientCertificate { is_vouched_for: false, ..certificate("vouched") };
    assert_eq!(checked("vouched", certificate("vouched")).await, Ok(Some(u64::MAX / 2)));
    assert_eq!(
        checked("known", ClientCertificate { common_name: None, ..strange.clone() }).await,
        Ok(Some(u64::MAX / 2))
    );
    assert!(matches!(checked("vouched", strange).await, Err(Refusal::Unauthorized(_))));
    assert!(matches!(checked("vouched", certificate("known")).await, Err(Refusal::Unauthorized(_))));
    assert!(matches!(checked("unknown", certificate("unknown")).await, Err(Refusal::Unauthorized(_))));
}

/// Changes the registration of an identity.
fn change(device: &Device, identity: &str, wanted: Wanted) {
    device.cloud.put_identity(&id(identity), wanted, Some(Condition::Present)).expect("it is registered");
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_proof_does_not_hold_any_more_is_cut_off_when_the_hub_hears_of_it() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let scope = device.cloud.registry().require(&id("edge")).unwrap().scope.clone();
    for leaf in ["disabled", "rekeyed", "untouched"] {
        device.cloud.put_identity(&id(leaf), Wanted { scope: scope.clone(), ..Wanted::default() }, None).unwrap();
    }
    let [mut disabled, mut rekeyed, untouched] = [
        device.connect("disabled", &[]).await,
        device.connect("rekeyed", &[]).await,
        device.connect("untouched", &[]).await,
    ];
    change(&device, "disabled", Wanted { enabled: Some(false), ..Wanted::default() });
    let (primary_key, secondary_key) = (new_key(), new_key());
    let keys = Authentication::Sas { primary_key, secondary_key };
    change(&device, "rekeyed", Wanted { authentication: Some(keys), ..Wanted::default() });

    // Back with its hub, the edge hub reads all identities anew.
    device.way.interrupt().await;
    device.way.mend().await;
    assert_eq!(disabled.closed().await, CloseReason::Unauthorized);
    assert_eq!(rekeyed.closed().await, CloseReason::Unauthorized);
    assert!(device.hub.status().clients.contains(&untouched.attachment.client.identity));
    assert!(device.authenticate("disabled").await.is_err());
    device.authenticate("rekeyed").await.expect("with its new key");

    change(&device, "disabled", Wanted { enabled: Some(true), ..Wanted::default() });
    // The hub asks once more for a client that it has refused, but not at every try.
    tokio::time::advance(Duration::from_secs(2)).await;
    device.authenticate("disabled").await.expect("it is enabled again");
}

#[tokio::test(start_paused = true)]
async fn the_hub_hears_of_it_within_the_hour() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let mut source = device.connect("edge/source", &[]).await;
    device.cloud.remove_identity(&id("edge/source"), None).unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(source.closed().await, CloseReason::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_device_is_cut_off_from_the_cloud_with_its_modules() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    let module = id("edge/source");
    let client = Client { identity: module.clone(), expires_at: None };
    let mut peer = Peer::attach(Arc::clone(&device.cloud) as _, &client, SessionKind::Clean).await;
    change(&device, "edge", Wanted { enabled: Some(false), ..Wanted::default() });
    assert_eq!(peer.closed().await, CloseReason::Unauthorized);
    assert!(!device.cloud.is_connected(&module));
    let token = token(&device.cloud, &module, u64::MAX / 2);
    let checked = device.cloud.authenticate(&module, &Credential::Token(token)).await;
    assert!(matches!(checked, Err(Refusal::Unauthorized(_))));
}

#[tokio::test(start_paused = true)]
async fn no_more_clients_are_taken_than_the_deployment_says() {
    let directory = tempdir().unwrap();
    let device = Device::start(directory.path(), json!({})).await;
    device.hub.set_environment(&[("MaxConnectedClients".to_owned(), "1".to_owned())].into());
    let source = device.connect("edge/source", &[]).await;
    let client = device.authenticate("edge/sink").await.unwrap();
    let refused = Peer::try_attach(Arc::clone(&device.hub) as _, &client, SessionKind::Clean).await.err();
    assert!(matches!(&refused, Some(Refusal::Unavailable(why)) if why.contains("which is 1")), "{refused:?}");
    // One that comes again takes the place that it has.
    let again = device.connect("edge/source", &[]).await;
    again.leave().await;
    source.leave().await;
    device.connect("edge/sink", &[]).await;
    device.hub.set_environment(&[].into());
    device.connect("edge/source", &[]).await;
}
