//! Who does not get in, and what each protocol says of it.

use edgectl_hub::auth::Authentication;
use edgectl_hub::clock::Clock as _;
use edgectl_hub::cloud::registry::{Condition, Wanted};
use edgectl_hub::message::Message;
use edgectl_schemas::sas::{encoded_audience, make_token};
use edgectl_simulator::authority::{Authority, self_signed_client};
use edgectl_wire::amqp::sasl::SaslCode;
use edgectl_wire::mqtt::connect::ConnectReturnCode;
use jiff::{SignedDuration, Timestamp};

use crate::authentication::add_known;
use crate::clients::client::{Opening, Proof, Refused, connect_with};
use crate::door::Door;
use crate::site::{HOST, Site, id};
use crate::table::{Behaviour, Hub};

/// What each door says to a proof that does not hold.
fn refused(door: Door, proof: &Proof) -> Refused {
    match door {
        Door::Mqtt | Door::MqttSocket => Refused::ConnAck(ConnectReturnCode::NotAuthorized),
        Door::Https => Refused::Status(401),
        Door::Amqp | Door::AmqpSocket if proof.opening == Opening::Plain => Refused::Sasl(SaslCode::Authentication),
        // What is no token at all is no request either.
        Door::Amqp | Door::AmqpSocket if proof.token.as_deref() == Some(NO_TOKEN) => Refused::Token(400),
        Door::Amqp | Door::AmqpSocket if proof.token.is_some() => Refused::Token(401),
        Door::Amqp | Door::AmqpSocket => Refused::condition("amqp:unauthorized-access"),
    }
}

const NO_TOKEN: &str = "SharedAccessSignature";

/// Tries a proof through every door of a hub, at those of AMQP on a link and as a password.
async fn try_all(site: &Site, hub: Hub, (what, identity, proof, good): &(&str, &str, Proof, bool)) {
    for door in Behaviour::Telemetry.doors(hub) {
        let plain = Proof { opening: Opening::Plain, ..proof.clone() };
        let is_amqp = matches!(door, Door::Amqp | Door::AmqpSocket) && proof.token.is_some();
        for proof in [proof, &plain].into_iter().take(1 + usize::from(is_amqp)) {
            let sending = async {
                let mut client = connect_with(site, (hub, door), identity, proof).await?;
                client.send(&Message::new((*what).to_owned())).await
            };
            let expected = if *good { Ok(()) } else { Err(refused(door, proof)) };
            assert_eq!(sending.await, expected, "{what} at {hub} {door} with {:?}", proof.opening);
        }
    }
}

#[tokio::test]
async fn tokens_are_good_for_one_identity_at_one_hub_for_some_time() {
    let site = Site::start().await;
    site.route_all_up().await;
    site.add_leaf("leaf", None);
    site.add_leaf("leaf2", None);
    let (key, soon) = (site.key("leaf"), site.clock.now_seconds() + 600);
    let audience = |host, identity| encoded_audience(host, &id(identity));
    let own = audience(HOST, "leaf");
    let good = site.token("leaf");
    let changed = good.replace("&sig=", "&sig=A");
    let cases = [
        ("a wrong signature", "leaf", changed),
        ("another's key", "leaf", make_token(&site.key("leaf2"), &own, soon, None)),
        ("another's token", "leaf", site.token("leaf2")),
        ("a wrong audience", "leaf", make_token(&key, &audience(HOST, "leaf2"), soon, None)),
        ("another hub's", "leaf", make_token(&key, &audience("other.example", "leaf"), soon, None)),
        ("an expired one", "leaf", make_token(&key, &own, site.clock.now_seconds() - 400, None)),
        ("none that is one", "leaf", NO_TOKEN.to_owned()),
        ("a stranger's", "nobody", good),
        ("another module's", "edge/m1", site.token("edge/m2")),
        ("a module's for its device", "edge", site.token("edge/m1")),
    ];
    let mut cases: Vec<_> =
        cases.into_iter().map(|(what, identity, token)| (what, identity, Proof::token(token), false)).collect();
    cases.push(("nothing", "leaf", Proof::default(), false));
    for hub in [Hub::Edge, Hub::Cloud] {
        for case in &cases {
            try_all(&site, hub, case).await;
        }
    }
    // Nothing of it was taken.
    assert_eq!(site.edge.status().counters.accepted.values().sum::<u64>(), 0);
    assert!(site.events().is_empty());
    site.stop().await;
}

#[tokio::test]
async fn certificates_are_good_for_those_they_are_known_or_vouched_for() {
    let site = Site::start().await;
    site.route_all_up().await;
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let foreign = Authority::open(folder.path(), &id("edge").device, now).unwrap();
    let known = self_signed_client(&id("known"), now).unwrap();
    let unknown = self_signed_client(&id("known"), now).unwrap();
    site.add_leaf("keys", None);
    site.add_leaf("vouched", Some(Authentication::CertificateAuthority));
    add_known(&site, "known", &known.thumbprints[0], "");

    let theirs = foreign.issue_client(&id("vouched"), now).unwrap();
    let another = site.authority.issue_client(&id("known"), now).unwrap();
    let expired = site.authority.issue_client(&id("vouched"), now - SignedDuration::from_hours(24 * 400)).unwrap();
    let early = site.authority.issue_client(&id("vouched"), now + SignedDuration::from_hours(24 * 40)).unwrap();
    let server = site.authority.issue_server(&["vouched"], now).unwrap();
    let with = Proof::certificate;
    let cases = [
        ("a foreign authority's", "vouched", with(&theirs), false),
        ("another device's", "vouched", with(&another), false),
        ("an expired one", "vouched", with(&expired), false),
        ("one for later", "vouched", with(&early), false),
        ("a server's", "vouched", with(&server), false),
        ("one that nobody vouches for", "vouched", with(&known), false),
        ("one of no known thumbprint", "known", with(&unknown), false),
        ("one where keys are used", "keys", with(&known), false),
        ("none", "vouched", Proof::default(), false),
    ];
    for hub in [Hub::Edge, Hub::Cloud] {
        for case in &cases {
            try_all(&site, hub, case).await;
        }
    }
    assert!(site.events().is_empty());
    site.stop().await;
}

#[tokio::test]
async fn a_modules_certificate_is_for_the_cloud_hub_alone() {
    let site = Site::start().await;
    let authentication = Some(Authentication::CertificateAuthority);
    site.cloud.put_identity(&id("edge/certified"), Wanted { authentication, ..Wanted::default() }, None).unwrap();
    let issued = site.authority.issue_client(&id("edge/certified"), Timestamp::now()).unwrap();
    for (hub, good) in [(Hub::Cloud, true), (Hub::Edge, false)] {
        try_all(&site, hub, &("a module's", "edge/certified", Proof::certificate(&issued), good)).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn a_disabled_device_and_its_modules_stay_outside() {
    let site = Site::start().await;
    let disabled = Wanted { enabled: Some(false), ..Wanted::default() };
    let tokens = ["edge", "edge/m1"].map(|identity| (identity, Proof::token(site.token(identity))));
    for good in [true, false] {
        for (identity, proof) in &tokens {
            try_all(&site, Hub::Cloud, &("its own", identity, proof.clone(), good)).await;
        }
        site.cloud.put_identity(&id("edge"), disabled.clone(), Some(Condition::Present)).unwrap();
    }
    site.stop().await;
}
