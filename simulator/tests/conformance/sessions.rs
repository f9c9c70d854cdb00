//! What outlives a connection: subscriptions where the protocol has sessions, and messages that were not acknowledged
//! always.

use std::time::Duration;

use edgectl_hub::gateway::{Feature, Refusal, Settlement};
use edgectl_hub::message::Message;
use edgectl_hub::method::MethodRequest;
use serde_json::json;

use crate::clients::client::{Client as _, Proof, connect};
use crate::clients::https::HttpsClient;
use crate::clients::mqtt::MqttClient;
use crate::door::Door;
use crate::site::{Site, id};
use crate::table::{Behaviour, Hub};

async fn put(site: &Site, identity: &str, text: &str) {
    site.edge.put_into_input(&id(identity).module.unwrap(), "in", Message::new(text.to_owned())).await.unwrap();
}

#[tokio::test]
async fn messages_that_were_not_acknowledged_come_again_in_order() {
    let site = Site::start().await;
    for door in Behaviour::Inputs.doors(Hub::Edge) {
        let module = format!("edge/{door}");
        site.add_module(&module);
        for text in ["first", "second", "third"] {
            put(&site, &module, text).await;
        }
        let mut client = connect(&site, (Hub::Edge, door), &module).await;
        client.listen(Feature::Inputs).await;
        let first = client.receive().await;
        assert_eq!((&first.message.body[..], first.redelivered.unwrap_or(false)), (&b"first"[..], false), "{door}");
        client.settle(&first, Settlement::Complete).await;
        assert_eq!(client.receive().await.message.body, "second", "{door}");
        drop(client);

        let mut client = connect(&site, (Hub::Edge, door), &module).await;
        if !Behaviour::Sessions.doors(Hub::Edge).contains(&door) {
            client.listen(Feature::Inputs).await;
        }
        for (text, redelivered) in [("second", true), ("third", true), ("fourth", false)] {
            if text == "fourth" {
                put(&site, &module, text).await;
            }
            let received = client.receive().await;
            assert_eq!(received.message.body, text, "{door}");
            // The third may not have been under way.
            assert!(text == "third" || received.redelivered.is_none_or(|mark| mark == redelivered), "{text} at {door}");
            client.settle(&received, Settlement::Complete).await;
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_session_remembers_all_that_was_subscribed_to() {
    let site = Site::start().await;
    for (hub, door) in Behaviour::Sessions.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let proof = Proof::token(site.token(&module));
        let mut first = MqttClient::connect(&site, site.at(hub), door, &module, &proof).await.ok().unwrap();
        assert!(!first.session_present, "{module}");
        first.listen(Feature::Methods).await;
        first.listen(Feature::DesiredProperties).await;
        first.twin().await;
        drop(first);

        let mut again = MqttClient::connect(&site, site.at(hub), door, &module, &proof).await.ok().unwrap();
        assert!(again.session_present, "{module}");
        site.desire(&module, json!({ "color": "red" }));
        let told = again.desired().await;
        assert_eq!(told["color"], "red", "{module}");
        let asked = async {
            let call = again.called().await;
            again.answer(&call.number, 200, "1").await;
        };
        let identity = id(&module);
        let (answer, ()) = tokio::join!(site.cloud.call(&identity, request()), asked);
        assert_eq!(answer.unwrap().status, 200, "{module}");
    }
    site.stop().await;
}

fn request() -> MethodRequest {
    let time = Duration::from_secs(30);
    MethodRequest { name: "poke".to_owned(), payload: "1".into(), response_timeout: time, connect_timeout: time }
}

#[tokio::test]
async fn without_sessions_a_client_listens_to_nothing_when_it_is_back() {
    let site = Site::start().await;
    let request = || MethodRequest { connect_timeout: Duration::ZERO, ..request() };
    for door in [Door::Amqp, Door::AmqpSocket] {
        assert!(Behaviour::Sessions.lacking(Hub::Cloud).contains(&door));
        let module = format!("edge/{door}");
        site.add_module(&module);
        let mut client = connect(&site, (Hub::Cloud, door), &module).await;
        client.listen(Feature::Methods).await;
        drop(client);
        let _back = connect(&site, (Hub::Cloud, door), &module).await;
        let called = site.cloud.call(&id(&module), request()).await;
        assert_eq!(called, Err(Refusal::NotConnected(id(&module))), "{door}");
    }
    site.stop().await;
}

#[tokio::test]
async fn who_stops_listening_is_asked_no_more_until_it_listens_again() {
    let site = Site::start().await;
    for (hub, door) in Behaviour::Methods.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let mut client = connect(&site, (hub, door), &module).await;
        for feature in [Feature::Methods, Feature::DesiredProperties] {
            client.listen(feature).await;
            client.stop_listening(feature).await;
        }
        if hub == Hub::Edge {
            let caller = HttpsClient::new(&site, site.at(hub), "edge/m1", &Proof::token(site.token("edge/m1")));
            assert_eq!(caller.call(&module, &json!({ "methodName": "poke" })).await.0, 404, "{module}");
            client.listen(Feature::Inputs).await;
            put(&site, &module, "first").await;
            let first = client.receive().await;
            client.settle(&first, Settlement::Complete).await;
            client.stop_listening(Feature::Inputs).await;
            put(&site, &module, "second").await;
            client.listen(Feature::Inputs).await;
            assert_eq!(client.receive().await.message.body, "second", "{module}");
        } else {
            let request = MethodRequest { connect_timeout: Duration::ZERO, ..request() };
            let called = site.cloud.call(&id(&module), request).await;
            assert_eq!(called, Err(Refusal::NotConnected(id(&module))), "{module}");
        }
    }
    site.stop().await;
}
