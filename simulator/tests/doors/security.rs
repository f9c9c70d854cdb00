//! Who gets in, and who does not, through every door of both hubs.

use std::collections::BTreeSet;

use edgectl_hub::auth::Authentication;
use edgectl_hub::message::Message;
use edgectl_schemas::sas::{encoded_audience, make_token};
use edgectl_simulator::authority::{Authority, self_signed_client};
use edgectl_simulator::client::token::now_seconds;
use edgectl_wire::mqtt::connect::ConnectReturnCode;
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::subscribe::Subscribe;
use jiff::{SignedDuration, Timestamp};

use crate::amqp;
use crate::client::{DOORS, Door, MqttClient, Outcome, Proof, open, send};
use crate::site::{HOST, Listeners, Site, id};

/// What each door tells who is not let in.
fn refused(door: Door) -> Outcome {
    match door {
        Door::Mqtt | Door::MqttSocket => Outcome::NotConnected(ConnectReturnCode::NotAuthorized),
        Door::Amqp | Door::AmqpSocket => Outcome::Unauthorized,
        Door::Https => Outcome::Status(401),
    }
}

/// Tries a proof through every door of a hub; what was sent with the good ones, and nothing else, arrives.
async fn try_all(site: &Site, at: Listeners, cases: &[(&str, &str, Proof, bool)]) {
    for (what, identity, proof, good) in cases {
        for door in DOORS {
            let outcome = send(&site.authority, at, door, identity, proof, what).await;
            let expected = if *good { Outcome::Taken } else { refused(door) };
            assert_eq!(outcome, expected, "{what} at {door:?}");
        }
    }
}

#[tokio::test]
async fn tokens_are_good_for_one_identity_at_one_hub_for_some_time() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    site.add_leaf("leaf2", None);
    let (key, soon) = (site.key("leaf"), now_seconds() + 600);
    let audience = |host, identity| encoded_audience(host, &id(identity));
    let own = audience(HOST, "leaf");
    let good = site.token("leaf");
    let changed = good.replace("&sig=", "&sig=A");
    let mut cases = vec![
        ("its own", "leaf", good.clone(), true),
        ("a module's own", "edge/m1", site.token("edge/m1"), true),
        ("a device's for its module", "edge/m1", site.token("edge"), true),
        ("a wrong signature", "leaf", changed, false),
        ("another's key", "leaf", make_token(&site.key("leaf2"), &own, soon, None), false),
        ("another's token", "leaf", site.token("leaf2"), false),
        ("a wrong audience", "leaf", make_token(&key, &audience(HOST, "leaf2"), soon, None), false),
        ("another hub's", "leaf", make_token(&key, &audience("other.example", "leaf"), soon, None), false),
        ("an expired one", "leaf", make_token(&key, &own, now_seconds() - 400, None), false),
        ("none that is one", "leaf", "SharedAccessSignature".to_owned(), false),
        ("a stranger's", "nobody", good, false),
        ("another module's", "edge/m1", site.token("edge/m2"), false),
        ("a module's for its device", "edge", site.token("edge/m1"), false),
    ];
    let mut proofs: Vec<_> =
        cases.drain(..).map(|(what, identity, token, good)| (what, identity, Proof::token(token), good)).collect();
    proofs.push(("nothing", "leaf", Proof::default(), false));
    for at in site.hubs() {
        try_all(&site, at, &proofs).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn certificates_are_good_for_those_they_are_known_or_vouched_for() {
    let site = Site::start().await;
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let foreign = Authority::open(folder.path(), &id("edge").device, now).unwrap();
    let known = self_signed_client(&id("known"), now).unwrap();
    let [sha1, sha256] = known.thumbprints.clone();
    let unknown = self_signed_client(&id("known"), now).unwrap();
    let thumbprint = |primary: &str, secondary: &str| Authentication::SelfSigned {
        primary_thumbprint: primary.to_owned(),
        secondary_thumbprint: secondary.to_owned(),
    };
    site.add_leaf("keys", None);
    site.add_leaf("vouched", Some(Authentication::CertificateAuthority));
    site.add_leaf("sha1", Some(thumbprint(&sha1, "")));
    site.add_leaf("sha256", Some(thumbprint(&"A".repeat(40), &sha256)));

    let ours = site.authority.issue_client(&id("vouched"), now).unwrap();
    let theirs = foreign.issue_client(&id("vouched"), now).unwrap();
    let another = site.authority.issue_client(&id("sha1"), now).unwrap();
    let expired = site.authority.issue_client(&id("vouched"), now - SignedDuration::from_hours(24 * 400)).unwrap();
    let early = site.authority.issue_client(&id("vouched"), now + SignedDuration::from_hours(24 * 40)).unwrap();
    let server = site.authority.issue_server(&["vouched"], now).unwrap();
    let with = Proof::certificate;
    let cases = [
        ("one that was vouched for", "vouched", with(&ours), true),
        ("one of that primary thumbprint", "sha1", with(&known), true),
        ("one of that secondary thumbprint", "sha256", with(&known), true),
        ("a foreign authority's", "vouched", with(&theirs), false),
        ("another device's", "vouched", with(&another), false),
        ("an expired one", "vouched", with(&expired), false),
        ("one for later", "vouched", with(&early), false),
        ("a server's", "vouched", with(&server), false),
        ("one that nobody vouches for", "vouched", with(&known), false),
        ("one of no known thumbprint", "sha1", with(&unknown), false),
        ("one where keys are used", "keys", with(&known), false),
        ("none", "vouched", Proof::default(), false),
    ];
    for at in site.hubs() {
        try_all(&site, at, &cases).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn a_modules_certificate_is_for_the_cloud_hub_alone() {
    let site = Site::start().await;
    let authentication = Some(Authentication::CertificateAuthority);
    let wanted = edgectl_hub::cloud::registry::Wanted { authentication, ..Default::default() };
    site.cloud.put_identity(&id("edge/certified"), wanted, None).unwrap();
    let issued = site.authority.issue_client(&id("edge/certified"), Timestamp::now()).unwrap();
    let case = |good| [("a module's", "edge/certified", Proof::certificate(&issued), good)];
    try_all(&site, site.cloud_at, &case(true)).await;
    try_all(&site, site.edge_at, &case(false)).await;
    site.stop().await;
}

#[tokio::test]
async fn a_disabled_device_and_its_modules_stay_outside() {
    let site = Site::start().await;
    let disabled = edgectl_hub::cloud::registry::Wanted { enabled: Some(false), ..Default::default() };
    let present = Some(edgectl_hub::cloud::registry::Condition::Present);
    let (device, module) = (Proof::token(site.token("edge")), Proof::token(site.token("edge/m1")));
    let cases = |good| [("its own", "edge", device.clone(), good), ("its module's", "edge/m1", module.clone(), good)];
    try_all(&site, site.cloud_at, &cases(true)).await;
    site.cloud.put_identity(&id("edge"), disabled, present).unwrap();
    try_all(&site, site.cloud_at, &cases(false)).await;
    site.stop().await;
}

#[tokio::test]
async fn nobody_sends_as_another() {
    let site = Site::start().await;
    for at in site.hubs() {
        for door in [Door::Mqtt, Door::MqttSocket] {
            for other in ["edge/m2", "edge"] {
                let stream = open(&site.authority, at, door, None).await;
                let token = site.token("edge/m1");
                let mut client = MqttClient::connect(stream, "edge/m1", Some(&token)).await.ok().unwrap();
                assert_eq!(client.publish_as(other, "forged").await, Outcome::Closed, "{door:?} as {other}");
            }
        }
        for door in [Door::Amqp, Door::AmqpSocket] {
            for other in ["edge/m2", "edge"] {
                let stream = open(&site.authority, at, door, None).await;
                let token = site.token("edge/m1");
                let outcome = amqp::send(stream, "edge/m1", Some(&token), other, "forged").await;
                assert_eq!(outcome, Outcome::Unauthorized, "{door:?} as {other}");
            }
        }
        let token = Proof::token(site.token("edge/m1"));
        for other in ["edge/m2", "edge"] {
            let outcome = send(&site.authority, at, Door::Https, other, &token, "forged").await;
            assert_eq!(outcome, Outcome::Status(401));
        }
    }
    let events = site.cloud.events().read(0, 1000).unwrap();
    assert!(events.is_empty(), "{events:?}");
    site.stop().await;
}

#[tokio::test]
async fn nobody_reads_what_is_anothers() {
    let site = Site::start().await;
    for door in [Door::Mqtt, Door::MqttSocket] {
        let stream = open(&site.authority, site.edge_at, door, None).await;
        let mut client = MqttClient::connect(stream, "edge/m1", Some(&site.token("edge/m1"))).await.ok().unwrap();
        let filters = ["devices/edge/modules/m2/inputs/#", "devices/edge/modules/+/inputs/#", "#"];
        let filters = filters.map(|filter| (filter.to_owned(), QualityOfService::AtLeastOnce)).to_vec();
        client.send(Packet::Subscribe(Subscribe { id: PacketId::new(7).unwrap(), filters })).await;
        assert!(matches!(client.next().await, Some(Packet::SubAck(_))));
        for (module, text) in [("m2", "another's"), ("m1", "its own")] {
            let module = id(&format!("edge/{module}")).module.unwrap();
            site.edge.put_into_input(&module, "in", Message::new(text)).await.unwrap();
        }
        let Some(Packet::Publish(publish)) = client.next().await else { panic!("a message") };
        assert_eq!(publish.payload, "its own");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_was_refused_left_nothing_behind() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    for door in DOORS {
        let proof = Proof::token(site.token("leaf"));
        assert_eq!(send(&site.authority, site.cloud_at, door, "leaf", &proof, "good").await, Outcome::Taken);
        send(&site.authority, site.cloud_at, door, "leaf", &Proof::default(), "bad").await;
    }
    let bodies: Vec<_> = site.cloud.events().read(0, 100).unwrap().into_iter().map(|event| event.body).collect();
    assert_eq!(bodies.len(), DOORS.len());
    let bodies: BTreeSet<String> = bodies.into_iter().map(|body| body.unwrap_or_default().to_string()).collect();
    assert_eq!(bodies, BTreeSet::from(["\"good\"".to_owned()]));
    site.stop().await;
}
