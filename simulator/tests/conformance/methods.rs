//! Methods: called from the cloud and from module to module, answered over every protocol, and not answered.

use std::time::Duration;

use edgectl_hub::clock::Clock as _;
use edgectl_hub::gateway::{Feature, Refusal};
use edgectl_hub::method::MethodRequest;
use edgectl_schemas::sas::{encoded_audience, make_token};
use serde_json::{Value, json};

use crate::clients::client::{Client, Proof, connect};
use crate::clients::https::HttpsClient;
use crate::door::Door;
use crate::site::{HOST, Site, id};
use crate::table::{Behaviour, Hub};

fn request(response: Duration, connect: Duration) -> MethodRequest {
    let payload = r#"{"a": "王明"}"#.into();
    MethodRequest { name: "open-door".to_owned(), payload, response_timeout: response, connect_timeout: connect }
}

const LONG: Duration = Duration::from_secs(30);

/// What a module calls with.
fn caller<'a>(site: &'a Site, identity: &str) -> HttpsClient<'a> {
    HttpsClient::new(site, site.at(Hub::Edge), identity, &Proof::token(site.token(identity)))
}

async fn is_asked(client: &mut dyn Client, status: i32, payload: &str) {
    let call = client.called().await;
    assert_eq!((call.name.as_str(), &call.payload[..]), ("open-door", r#"{"a": "王明"}"#.as_bytes()));
    client.answer(&call.number, status, payload).await;
}

#[tokio::test]
async fn the_cloud_calls_and_is_answered() {
    let site = Site::start().await;
    for (hub, door) in Behaviour::Methods.places() {
        let (module, leaf) = (format!("edge/{hub}-{door}"), format!("leaf-{hub}-{door}"));
        site.add_module(&module);
        site.add_leaf(&leaf, None);
        for target in [module, leaf] {
            let mut client = connect(&site, (hub, door), &target).await;
            client.listen(Feature::Methods).await;
            // Calls meet a client that the edge hub is about to tell the cloud hub of.
            for (status, payload) in [(217, r#"{ "open" : true }"#), (404, ""), (200, "null")] {
                let identity = id(&target);
                let (answer, ()) = tokio::join!(
                    site.cloud.call(&identity, request(LONG, LONG)),
                    is_asked(client.as_mut(), status, payload)
                );
                let answer = answer.unwrap();
                assert_eq!((answer.status, &answer.payload[..]), (status, payload.as_bytes()), "{target}");
            }
            // A client that says nothing.
            let soon = Duration::from_millis(50);
            let silent = site.cloud.call(&id(&target), request(soon, LONG)).await;
            assert_eq!(silent, Err(Refusal::NoAnswer(id(&target))));
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn modules_call_over_https_what_listens_over_anything() {
    let site = Site::start().await;
    let m1 = caller(&site, "edge/m1");
    for door in Behaviour::Methods.doors(Hub::Edge) {
        let (module, leaf) = (format!("edge/{door}"), format!("leaf-{door}"));
        site.add_module(&module);
        site.add_leaf(&leaf, None);
        for target in [module, leaf] {
            let body = json!({ "methodName": "open-door", "payload": { "a": 1 } });
            let told = m1.call(&target, &body).await;
            assert_eq!(told, (404, json!({ "message": format!("Client {target} not found") })));

            // A call waits for a client that comes in time.
            let waiting = json!({ "methodName": "open-door", "payload": { "a": 1 }, "connectTimeoutInSeconds": 30 });
            let target_there = async {
                let mut client = connect(&site, (Hub::Edge, door), &target).await;
                client.listen(Feature::Methods).await;
                let call = client.called().await;
                assert_eq!((call.name.as_str(), &call.payload[..]), ("open-door", &br#"{"a":1}"#[..]));
                client.answer(&call.number, 217, r#"{ "name" : "王明" }"#).await;
                client
            };
            let (told, mut client) = tokio::join!(m1.call(&target, &waiting), target_there);
            assert_eq!(told, (200, json!({ "status": 217, "payload": { "name": "王明" } })), "{target}");

            // Calls at once are told apart by their numbers.
            let crossed = async {
                let (first, second) = (client.called().await, client.called().await);
                for call in [second, first] {
                    let payload = String::from_utf8(call.payload.to_vec()).unwrap();
                    client.answer(&call.number, 200, &payload).await;
                }
            };
            let [one, two] = [1, 2].map(|n| json!({ "methodName": "echo", "payload": n }));
            let (one, two, ()) = tokio::join!(m1.call(&target, &one), m1.call(&target, &two), crossed);
            assert_eq!([one, two], [1, 2].map(|n| (200, json!({ "status": 200, "payload": n }))), "{target}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_not_waited_for() {
    let site = Site::start().await;
    let m1 = caller(&site, "edge/m1");
    let mut doors = Vec::new();
    for door in Behaviour::Methods.doors(Hub::Edge) {
        let (silent, gone) = (format!("edge/silent-{door}"), format!("edge/gone-{door}"));
        for module in [&silent, &gone] {
            site.add_module(module);
        }
        doors.push((door, silent, gone));
    }
    let tried = doors.iter().map(|(door, silent, gone)| {
        let (site, m1) = (&site, &m1);
        async move {
            let mut clients = Vec::new();
            for module in [silent, gone] {
                let mut client = connect(site, (Hub::Edge, *door), module).await;
                client.listen(Feature::Methods).await;
                clients.push(client);
            }
            let mut leaving = clients.pop().unwrap();
            let leaves = async move {
                leaving.called().await;
            };
            let body = json!({ "methodName": "open-door", "responseTimeoutInSeconds": 5 });
            let long = json!({ "methodName": "open-door", "responseTimeoutInSeconds": 300 });
            let (silent, gone, ()) = tokio::join!(m1.call(silent, &body), m1.call(gone, &long), leaves);
            for (status, body) in [silent, gone] {
                assert!(status == 504 && body["message"].is_string(), "{status} {body} at {door}");
            }
        }
    });
    futures_util::future::join_all(tried).await;
    site.stop().await;
}

#[tokio::test]
async fn refusals_have_the_runtimes_words() {
    let site = Site::start().await;
    let good = site.token("edge/m1");
    let expired =
        make_token(&site.key("edge/m1"), &encoded_audience(HOST, &id("edge/m1")), site.clock.now_seconds() - 600, None);
    let message = |text: &str| json!({ "message": text });
    let unable = message("Unable to authenticate device with Id edge/m1");
    let sas = "Cannot parse SharedAccessSignature because of the following error - The specified SAS token";
    let poke = json!({ "methodName": "poke" });
    let long = "x".repeat(101);
    for (target, token, body, status, text) in [
        ("edge/m2", good.as_str(), &poke, 404, message("Client edge/m2 not found")),
        ("edge/m+2", good.as_str(), &poke, 404, message("Client edge/m+2 not found")),
        ("edge/m2", &site.token("edge/m2"), &poke, 401, unable.clone()),
        ("edge/m2", "", &poke, 401, unable),
        ("edge/m2", &expired, &poke, 401, message(&format!("{sas} is expired"))),
        ("edge/m2", "x", &poke, 401, message(&format!("{sas} has an invalid format"))),
        ("edge/m2", &good, &json!({}), 400, Value::from("methodName must have 1 to 100 characters")),
        (
            "edge/m2",
            &good,
            &json!({ "methodName": long }),
            400,
            Value::from("methodName must have 1 to 100 characters"),
        ),
    ] {
        let m1 = HttpsClient::new(&site, site.at(Hub::Edge), "edge/m1", &Proof::token(token));
        assert_eq!(m1.call(target, body).await, (status, text));
    }
    assert_eq!(Behaviour::Calls.doors(Hub::Edge), [Door::Https]);
    site.stop().await;
}
