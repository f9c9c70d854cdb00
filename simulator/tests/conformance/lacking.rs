//! What a protocol lacks, by the table, it lacks: who asks for it all the same is told so in the protocol's own way.

use axum::body::Body;
use axum::http::Request;

use crate::clients::client::Proof;
use crate::clients::https::HttpsClient;
use crate::door::Door;
use crate::site::Site;
use crate::table::{Behaviour, Hub};

#[tokio::test]
async fn https_has_nothing_for_a_client_to_wait_for() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    for hub in [Hub::Edge, Hub::Cloud] {
        for (behaviour, identity, path) in [
            (Behaviour::Inputs, "edge/m1", "/devices/edge/modules/m1/inputs/in"),
            (Behaviour::Inputs, "edge/m1", "/devices/edge/modules/m1/messages/events"),
            (Behaviour::Methods, "edge/m1", "/devices/edge/modules/m1/methods/devicebound"),
            (Behaviour::Twins, "edge/m1", "/twins/edge/modules/m1"),
            (Behaviour::Twins, "edge/m1", "/devices/edge/modules/m1/twin"),
            (Behaviour::CloudToDevice, "leaf", "/devices/leaf/messages/devicebound"),
        ] {
            let client = HttpsClient::new(&site, site.at(hub), identity, &Proof::token(site.token(identity)));
            let (status, ..) = client.ask(Request::get(format!("{path}?api-version=2021-04-12")), Body::empty()).await;
            if behaviour.lacking(hub).contains(&Door::Https) {
                assert!([401, 404, 405].contains(&status), "{status} for {path} at {hub}");
            } else {
                assert_eq!(status, 204, "{path} at {hub}");
            }
        }
    }
    site.stop().await;
}
