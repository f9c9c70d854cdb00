//! Calls from module to module over HTTPS.

use axum::body::Body;
use axum::http::Request;
use edgectl_schemas::sas::{encoded_audience, make_token};
use edgectl_simulator::client::token::now_seconds;
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::Subscribe;
use serde_json::{Value, json};

use crate::client::{Door, MqttClient, ask, open};
use crate::site::{HOST, Site, id};

/// A target that answers every call.
async fn answering(site: &Site, identity: &str, status: u64, payload: String) {
    let stream = open(&site.authority, site.edge_at, Door::Mqtt, None).await;
    let mut client = MqttClient::connect(stream, identity, Some(&site.token(identity))).await.ok().unwrap();
    let filters = vec![("$iothub/methods/POST/#".to_owned(), QualityOfService::AtMostOnce)];
    client.send(Packet::Subscribe(Subscribe { id: PacketId::new(1).unwrap(), filters })).await;
    assert!(matches!(client.next().await, Some(Packet::SubAck(_))));
    tokio::spawn(async move {
        while let Some(packet) = client.next().await {
            let Packet::Publish(call) = packet else { continue };
            let (_, request) = call.topic.split_once("?$rid=").unwrap();
            let topic = format!("$iothub/methods/res/{status}/?$rid={request}");
            let payload = payload.clone().into();
            client
                .send(Packet::Publish(Publish { topic, payload, delivery: Delivery::AtMostOnce, retain: false }))
                .await;
        }
    });
}

fn call(target: &str, caller: Option<&str>, token: &str, body: &Value) -> Request<Body> {
    // As one of the SDKs does: without api-version.
    let mut request = Request::post(format!("/twins/{target}/methods")).header("Host", "edge");
    if let Some(caller) = caller {
        request = request.header("x-ms-edge-moduleId", caller);
    }
    request.header("Authorization", token).body(Body::from(body.to_string())).unwrap()
}

async fn tell(site: &Site, request: Request<Body>) -> (u16, String) {
    let (status, _, body) = ask(&site.authority, site.edge_at, None, request).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn poke() -> Value {
    json!({ "methodName": "poke", "payload": { "a": 1 } })
}

#[tokio::test]
async fn a_module_calls_modules_and_leaf_devices() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    answering(&site, "edge/m2", 200, r#"{ "name" : "王明" }"#.to_owned()).await;
    answering(&site, "leaf", 404, String::new()).await;
    for (target, answer) in [
        ("edge/modules/m2", r#"{"status":200,"payload":{ "name" : "王明" }}"#),
        ("leaf", r#"{"status":404,"payload":null}"#),
    ] {
        let told = tell(&site, call(target, Some("edge/m1"), &site.token("edge/m1"), &poke())).await;
        assert_eq!(told, (200, answer.to_owned()));
    }
    site.stop().await;
}

#[tokio::test]
async fn refusals_have_the_runtimes_words() {
    let site = Site::start().await;
    let good = site.token("edge/m1");
    let expired = make_token(&site.key("edge/m1"), &encoded_audience(HOST, &id("edge/m1")), now_seconds() - 600, None);
    let message = |text: &str| json!({ "message": text }).to_string();
    let unable = message("Unable to authenticate device with Id edge/m1");
    let sas = "Cannot parse SharedAccessSignature because of the following error - The specified SAS token";
    for (target, token, body, status, text) in [
        ("edge/modules/m2", good.as_str(), poke(), 404, message("Client edge/m2 not found")),
        ("edge/modules/m+2", good.as_str(), poke(), 404, message("Client edge/m+2 not found")),
        ("edge/modules/m2", &site.token("edge/m2"), poke(), 401, unable.clone()),
        ("edge/modules/m2", "", poke(), 401, unable),
        ("edge/modules/m2", &expired, poke(), 401, message(&format!("{sas} is expired"))),
        ("edge/modules/m2", "x", poke(), 401, message(&format!("{sas} has an invalid format"))),
        ("edge/modules/m2", &good, json!({}), 400, "methodName must have 1 to 100 characters".to_owned()),
    ] {
        assert_eq!(tell(&site, call(target, Some("edge/m1"), token, &body)).await, (status, text));
    }
    site.stop().await;
}
