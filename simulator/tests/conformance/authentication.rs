//! Who gets in: with every kind of proof, over both versions of TLS, through every door.

use edgectl_hub::auth::Authentication;
use edgectl_hub::clock::Clock as _;
use edgectl_hub::message::Message;
use edgectl_schemas::sas::{encoded_audience, make_token};
use edgectl_simulator::authority::{Issued, self_signed_client};
use jiff::Timestamp;
use rustls::version::{TLS12, TLS13};

use crate::clients::amqp::{AmqpClient, put_token};
use crate::clients::client::{Client as _, Opening, Proof, Refused, connect_with};
use crate::door::Door;
use crate::site::{ADDRESS, Site, id};
use crate::table::{Behaviour, Hub};

/// Registers a device that its hub knows by a thumbprint of a certificate.
pub fn add_known(site: &Site, name: &str, primary: &str, secondary: &str) {
    let (primary_thumbprint, secondary_thumbprint) = (primary.to_owned(), secondary.to_owned());
    site.add_leaf(name, Some(Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint }));
}

/// A client for each kind of proof that is good. Each hub has its own: who is connected to the edge hub is, through it,
/// connected to the cloud hub.
fn good(site: &Site, hub: Hub) -> Vec<(String, Proof)> {
    let now = Timestamp::now();
    let names = ["keys", "sha1", "sha256", "vouched"].map(|kind| format!("{kind}-{hub}"));
    let [keys, sha1, sha256, vouched] = names.clone();
    let (module, other_module) = (format!("edge/own-{hub}"), format!("edge/device-{hub}"));
    for module in [&module, &other_module] {
        site.add_module(module);
    }
    site.add_leaf(&keys, None);
    let known: Issued = self_signed_client(&id("whoever"), now).unwrap();
    add_known(site, &sha1, &known.thumbprints[0], "");
    add_known(site, &sha256, &"A".repeat(40), &known.thumbprints[1]);
    site.add_leaf(&vouched, Some(Authentication::CertificateAuthority));
    let issued = site.authority.issue_client(&id(&vouched), now).unwrap();
    vec![
        (keys.clone(), Proof::token(site.token(&keys))),
        (module.clone(), Proof::token(site.token(&module))),
        // A device's token is good for its modules.
        (other_module, Proof::token(site.token("edge"))),
        (sha1, Proof::certificate(&known)),
        (sha256, Proof::certificate(&known)),
        (vouched, Proof::certificate(&issued)),
    ]
}

#[tokio::test]
async fn every_proof_is_good_over_both_versions_of_tls() {
    let site = Site::start().await;
    site.route_all_up().await;
    for hub in [Hub::Edge, Hub::Cloud] {
        for (identity, proof) in good(&site, hub) {
            let mut sent = 0;
            for version in [&TLS12, &TLS13] {
                let proof = Proof { version: Some(version), ..proof.clone() };
                for door in Behaviour::Telemetry.doors(hub) {
                    let client = connect_with(&site, (hub, door), &identity, &proof).await;
                    let sending = async { client?.send(&Message::new("x")).await };
                    assert_eq!(sending.await, Ok(()), "{identity} over {:?} at {door}", version.version);
                    sent += 1;
                }
            }
            site.received(&identity, sent).await;
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn amqp_begins_in_every_way() {
    let site = Site::start().await;
    site.route_all_up().await;
    for hub in [Hub::Edge, Hub::Cloud] {
        for (identity, proof) in good(&site, hub) {
            let openings: &[Opening] = if proof.token.is_some() {
                &[Opening::Bare, Opening::Mechanism("ANONYMOUS"), Opening::Mechanism("MSSBCBS"), Opening::Plain]
            } else {
                &[Opening::Bare, Opening::Mechanism("ANONYMOUS"), Opening::Mechanism("EXTERNAL")]
            };
            for door in [Door::Amqp, Door::AmqpSocket] {
                for opening in openings {
                    let proof = Proof { opening: *opening, ..proof.clone() };
                    let client = connect_with(&site, (hub, door), &identity, &proof).await;
                    let sending = async { client?.send(&Message::new("x")).await };
                    assert_eq!(sending.await, Ok(()), "{identity} with {opening:?} at {hub} {door}");
                }
            }
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_token_may_be_for_the_edge_hubs_own_name() {
    let site = Site::start().await;
    let token = make_token(
        &site.key("edge/m1"),
        &encoded_audience(ADDRESS, &id("edge/m1")),
        site.clock.now_seconds() + 600,
        None,
    );
    for (hub, door) in Behaviour::Telemetry.places() {
        let client = connect_with(&site, (hub, door), "edge/m1", &Proof::token(&token)).await;
        let sending = async { client?.send(&Message::new("x")).await };
        // To the cloud hub that is another hub's.
        assert_eq!(sending.await.is_ok(), hub == Hub::Edge, "{hub} {door}");
    }
    site.stop().await;
}

/// Some clients show a certificate to everyone who asks.
#[tokio::test]
async fn beside_a_token_a_certificate_counts_over_https_alone() {
    let site = Site::start().await;
    site.add_leaf("keys", None);
    let certificate = self_signed_client(&id("keys"), Timestamp::now()).unwrap();
    let proof = Proof { token: Some(site.token("keys")), ..Proof::certificate(&certificate) };
    for (hub, door) in Behaviour::Telemetry.places() {
        let client = connect_with(&site, (hub, door), "keys", &proof).await;
        let sending = async { client?.send(&Message::new("x")).await };
        // The real hub looks at the certificate of a request first.
        let expected = if door == Door::Https { Err(Refused::Status(401)) } else { Ok(()) };
        assert_eq!(sending.await, expected, "{hub} {door}");
    }
    site.stop().await;
}

/// Over MQTT a token is renewed with a new connection.
#[tokio::test]
async fn over_amqp_a_token_is_renewed_while_links_go_on() {
    let site = Site::start().await;
    for hub in [Hub::Edge, Hub::Cloud] {
        for door in [Door::Amqp, Door::AmqpSocket] {
            let module = format!("edge/{hub}-{door}");
            site.add_module(&module);
            let token = site.token(&module);
            let proof = Proof::token(&token);
            let mut client = AmqpClient::connect(&site, site.at(hub), door, &module, &proof).await.ok().unwrap();
            for (token, expected) in [(&token, Ok(())), (&site.token("edge/m1"), Err(Refused::Token(401)))] {
                assert_eq!(put_token(&mut client.connection, &module, token).await, expected, "{module}");
                // A token that does not hold takes nothing from the one that does.
                assert_eq!(client.send(&Message::new("x")).await, Ok(()), "{module}");
            }
        }
    }
    site.stop().await;
}
