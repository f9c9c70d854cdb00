//! Who gets in: with every kind of proof, over both versions of TLS, through every door.

use edgectl_hub::auth::Authentication;
use edgectl_hub::message::Message;
use edgectl_simulator::authority::{Issued, self_signed_client};
use jiff::Timestamp;
use rustls::version::{TLS12, TLS13};

use crate::clients::client::{Opening, Proof, connect_with};
use crate::door::Door;
use crate::site::{Site, id};
use crate::table::{Behaviour, Hub};

/// Registers a device that its hub knows by a thumbprint of a certificate.
pub fn add_known(site: &Site, name: &str, primary: &str, secondary: &str) {
    let (primary_thumbprint, secondary_thumbprint) = (primary.to_owned(), secondary.to_owned());
    site.add_leaf(name, Some(Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint }));
}

/// A device for each kind of proof that is good.
fn good(site: &Site) -> Vec<(&'static str, Proof)> {
    let now = Timestamp::now();
    let known: Issued = self_signed_client(&id("whoever"), now).unwrap();
    let [sha1, sha256] = &known.thumbprints;
    add_known(site, "sha1", sha1, "");
    add_known(site, "sha256", &"A".repeat(40), sha256);
    site.add_leaf("vouched", Some(Authentication::CertificateAuthority));
    site.add_leaf("keys", None);
    let vouched = site.authority.issue_client(&id("vouched"), now).unwrap();
    vec![
        ("keys", Proof::token(site.token("keys"))),
        ("edge/m1", Proof::token(site.token("edge/m1"))),
        // A device's token is good for its modules.
        ("edge/m2", Proof::token(site.token("edge"))),
        ("sha1", Proof::certificate(&known)),
        ("sha256", Proof::certificate(&known)),
        ("vouched", Proof::certificate(&vouched)),
    ]
}

#[tokio::test]
async fn every_proof_is_good_over_both_versions_of_tls() {
    let site = Site::start().await;
    site.route_all_up().await;
    for (identity, proof) in good(&site) {
        let mut sent = 0;
        for version in [&TLS12, &TLS13] {
            let proof = Proof { version: Some(version), ..proof.clone() };
            for place in Behaviour::Telemetry.places() {
                let client = connect_with(&site, place, identity, &proof).await;
                let sending = async { client?.send(&Message::new("x")).await };
                assert_eq!(sending.await, Ok(()), "{identity} over {:?} at {place:?}", version.version);
                sent += 1;
            }
        }
        site.received(identity, sent).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn amqp_begins_in_every_way() {
    let site = Site::start().await;
    site.route_all_up().await;
    for (identity, proof) in good(&site) {
        let openings: &[Opening] = if proof.token.is_some() {
            &[Opening::Bare, Opening::Mechanism("ANONYMOUS"), Opening::Mechanism("MSSBCBS"), Opening::Plain]
        } else {
            &[Opening::Bare, Opening::Mechanism("ANONYMOUS"), Opening::Mechanism("EXTERNAL")]
        };
        for hub in [Hub::Edge, Hub::Cloud] {
            for door in [Door::Amqp, Door::AmqpSocket] {
                for opening in openings {
                    let proof = Proof { opening: *opening, ..proof.clone() };
                    let client = connect_with(&site, (hub, door), identity, &proof).await;
                    let sending = async { client?.send(&Message::new("x")).await };
                    assert_eq!(sending.await, Ok(()), "{identity} with {opening:?} at {hub} {door}");
                }
            }
        }
    }
    site.stop().await;
}
