//! Nobody acts as another: not when sending, listening, reading a twin, answering a method or calling one.

use axum::body::Body;
use axum::http::Request;
use edgectl_hub::gateway::Feature;
use edgectl_hub::message::Message;
use edgectl_wire::amqp::attach::Role;
use edgectl_wire::mqtt::connect::{Connect, ConnectReturnCode};
use edgectl_wire::mqtt::packet::Packet;
use serde_json::json;

use crate::clients::amqp::{open_proved, path, put_token};
use crate::clients::client::{Client as _, Proof, Refused, connect};
use crate::clients::https::HttpsClient;
use crate::clients::mqtt::{self, MqttClient};
use crate::door::{Door, Handshake, open};
use crate::site::{Site, id};
use crate::table::{Behaviour, Hub};

const HUBS: [Hub; 2] = [Hub::Edge, Hub::Cloud];
const MQTT: [Door; 2] = [Door::Mqtt, Door::MqttSocket];
const AMQP: [Door; 2] = [Door::Amqp, Door::AmqpSocket];

fn proof(site: &Site) -> Proof {
    Proof::token(site.token("edge/m1"))
}

async fn m1_over_mqtt(site: &Site, hub: Hub, door: Door) -> MqttClient {
    MqttClient::connect(site, site.at(hub), door, "edge/m1", &proof(site)).await.ok().unwrap()
}

#[tokio::test]
async fn a_connection_of_mqtt_has_one_name() {
    let site = Site::start().await;
    let token = site.token("edge/m1");
    let Packet::Connect(own) = mqtt::connect("edge/m1", Some(&token)) else { panic!("CONNECT") };
    let Packet::Connect(other) = mqtt::connect("edge/m2", Some(&token)) else { panic!("CONNECT") };
    for hub in HUBS {
        for door in MQTT {
            for connect in [
                Connect { client_id: "edge/m2".to_owned(), ..(*own).clone() },
                Connect { username: other.username.clone(), ..(*own).clone() },
                (*other).clone(),
            ] {
                let stream = open(&site.authority, site.at(hub), door, Handshake::default()).await;
                let connected = MqttClient::connect_as(stream, "edge/m1", Packet::Connect(Box::new(connect))).await;
                assert_eq!(connected.err(), Some(Refused::ConnAck(ConnectReturnCode::NotAuthorized)), "{hub} {door}");
            }
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn nobody_sends_as_another() {
    let site = Site::start().await;
    site.route_all_up().await;
    for hub in HUBS {
        for other in ["edge/m2", "edge"] {
            let topic = format!("devices/{}/messages/events/", other.replace('/', "/modules/"));
            for door in MQTT {
                let sent = m1_over_mqtt(&site, hub, door).await.publish(topic.clone(), "forged").await;
                assert_eq!(sent, Err(Refused::Closed), "{hub} {door} as {other}");
            }
            let mut https = HttpsClient::new(&site, site.at(hub), other, &proof(&site));
            assert_eq!(https.send(&Message::new("forged")).await, Err(Refused::Status(401)), "{hub} as {other}");
        }
    }
    assert_eq!(site.edge.status().counters.accepted.values().sum::<u64>(), 0);
    assert!(site.events().is_empty());
    site.stop().await;
}

#[tokio::test]
async fn a_connection_of_amqp_has_no_link_of_another() {
    let site = Site::start().await;
    site.add_leaf("leaf", None);
    let unauthorized = Err(Refused::condition("amqp:unauthorized-access"));
    for hub in HUBS {
        for door in AMQP {
            let mut m1 = open_proved(&site, site.at(hub), door, "edge/m1", &proof(&site)).await.ok().unwrap();
            for other in ["edge/m2", "edge", "leaf"] {
                for (role, end) in [
                    (Role::Sender, "messages/events"),
                    (Role::Receiver, if other == "edge/m2" { "messages/events" } else { "messages/devicebound" }),
                    (Role::Sender, "twin"),
                    (Role::Receiver, "twin"),
                    (Role::Sender, "methods/devicebound"),
                    (Role::Receiver, "methods/devicebound"),
                ] {
                    let attached = m1.attach(role, &format!("{}/{end}", path(other)), None).await;
                    assert_eq!(attached, unauthorized, "{role:?} {end} of {other} at {hub} {door}");
                }
                assert_eq!(put_token(&mut m1, other, &site.token("edge/m1")).await, Err(Refused::Token(401)));
            }
            // What was refused took nothing from what is its own.
            let own = format!("{}/messages/events", path("edge/m1"));
            assert!(m1.attach(Role::Sender, &own, None).await.is_ok(), "{hub} {door}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn nobody_receives_what_is_anothers() {
    let site = Site::start().await;
    for door in MQTT {
        let mut m1 = m1_over_mqtt(&site, Hub::Edge, door).await;
        for filter in ["devices/edge/modules/m2/inputs/#", "devices/edge/modules/+/inputs/#", "#"] {
            m1.subscribe(filter).await;
        }
        for (module, text) in [("edge/m2", "another's"), ("edge/m1", "its own")] {
            site.edge.put_into_input(&id(module).module.unwrap(), "in", Message::new(text)).await.unwrap();
        }
        let received = m1.receive().await;
        assert_eq!(received.message.body, "its own", "{door}");
        m1.settle(&received, edgectl_hub::gateway::Settlement::Complete).await;
    }
    site.stop().await;
}

/// The names of MQTT's topics for twins hold no identity, so what is asked there is asked of the own twin.
#[tokio::test]
async fn a_twin_is_the_askers_own() {
    let site = Site::start().await;
    site.desire("edge/m2", json!({ "secret": 1 }));
    for (hub, door) in Behaviour::Twins.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        let twin = connect(&site, (hub, door), &module).await.twin().await;
        let twin = String::from_utf8(twin.body.to_vec()).unwrap();
        assert!(!twin.contains("secret"), "{twin} at {hub} {door}");
    }
    site.stop().await;
}

#[tokio::test]
async fn nobody_answers_for_another() {
    let site = Site::start().await;
    let caller = HttpsClient::new(&site, site.at(Hub::Edge), "edge/m1", &proof(&site));
    for listening in Behaviour::Methods.doors(Hub::Edge) {
        for forging in Behaviour::Methods.doors(Hub::Edge) {
            let mut m2 = connect(&site, (Hub::Edge, listening), "edge/m2").await;
            m2.listen(Feature::Methods).await;
            let mut m1 = connect(&site, (Hub::Edge, forging), "edge/m1").await;
            m1.listen(Feature::Methods).await;
            let answered = async {
                let call = m2.called().await;
                m1.answer(&call.number, 666, "\"forged\"").await;
                m2.answer(&call.number, 200, "\"true\"").await;
            };
            let body = json!({ "methodName": "open-door" });
            let (told, ()) = tokio::join!(caller.call("edge/m2", &body), answered);
            assert_eq!(told, (200, json!({ "status": 200, "payload": "true" })), "{forging} for {listening}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn nobody_calls_as_another_or_through_another_door() {
    let site = Site::start().await;
    let body = json!({ "methodName": "open-door" });
    // A token of one module, the name of another; and the name of a module of another device.
    for name in ["edge/m2", "edge/$edgeAgent", "other/m1"] {
        let forged = HttpsClient::new(&site, site.at(Hub::Edge), name, &proof(&site));
        assert_eq!(forged.call("edge/m1", &body).await.0, 401, "{name}");
    }
    // The cloud hub lets services call, and no module.
    let m1 = HttpsClient::new(&site, site.at(Hub::Cloud), "edge/m1", &proof(&site));
    assert_eq!(m1.call("edge/m2", &body).await.0, 401);
    for door in MQTT {
        let mut m1 = m1_over_mqtt(&site, Hub::Edge, door).await;
        let sent = m1.publish("$iothub/methods/POST/open-door/?$rid=1".to_owned(), "1").await;
        assert_eq!(sent, Err(Refused::Closed), "{door}");
    }
    let request = Request::get("/twins/edge/modules/m2?api-version=2021-04-12");
    assert_eq!(m1.ask(request, Body::empty()).await.0, 401);
    site.stop().await;
}
