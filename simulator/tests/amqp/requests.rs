//! Twins and methods, over pairs of links.

use std::time::Duration;

use edgectl_hub::gateway::Feature;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_wire::amqp::attach::{Attach, Role};
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::properties::MessageId;
use edgectl_wire::amqp::transfer::Transfer;
use edgectl_wire::amqp::value::Value;
use serde_json::json;

use crate::memory_hub::MemoryHub;
use crate::raw_client::{RawClient, attach, text};

const TWIN: &str = "/devices/edge/modules/m/twin";
const METHODS: &str = "/devices/edge/modules/m/methods/devicebound";
const DESIRED: &str = "/notifications/twin/properties/desired";

fn twin_request(operation: &str, resource: Option<&str>, body: &str, id: &str) -> AnnotatedMessage {
    let mut message = AnnotatedMessage::of_data(body.to_owned());
    message.message_annotations.put_symbol("operation", operation.into());
    if let Some(resource) = resource {
        message.message_annotations.put_symbol("resource", resource.into());
    }
    message.properties.correlation_id = Some(MessageId::String(id.to_owned()));
    message
}

/// Asks about the twin; status, version and body of the answer.
async fn ask(client: &mut RawClient, sender: u32, request: AnnotatedMessage) -> (i64, Option<i64>, String) {
    let settled = Transfer { handle: sender, settled: Some(true), ..Transfer::default() };
    client.send_as(settled, request.to_bytes()).await;
    let (transfer, answer) = client.hear_message().await;
    assert_eq!(transfer.settled, Some(true));
    assert_eq!(answer.properties.correlation_id, request.properties.correlation_id);
    let number = |name| answer.message_annotations.get(name).and_then(Value::as_integer);
    (number("status").unwrap(), number("version"), text(&answer))
}

async fn twin_links(client: &mut RawClient, pair: &str) -> (u32, u32) {
    let mut links = Vec::new();
    for (handle, role) in [(30, Role::Sender), (31, Role::Receiver)] {
        let handle = handle + if pair == "twin:2" { 2 } else { 0 };
        let mut attach: Attach = attach(handle, role, TWIN);
        attach.properties.put_symbol("com.microsoft:channel-correlation-id", pair.into());
        links.push(client.attach_as(attach).await);
    }
    client.credit(links[1], 0, 100).await;
    (links[0], links[1])
}

#[tokio::test]
async fn a_twin_is_read_reported_and_watched() {
    let hub = MemoryHub::new();
    hub.set(|state| state.version = Some(4));
    let mut client = RawClient::module(&hub).await;
    let (sender, receiver) = twin_links(&mut client, "twin:1").await;
    let (status, _, body) = ask(&mut client, sender, twin_request("GET", None, " ", "1")).await;
    let twin: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &twin["desired"]["$version"]), (200, &json!(2)));

    let reported = Some("/properties/reported");
    let answer = ask(&mut client, sender, twin_request("PATCH", reported, r#"{"a":1}"#, "2")).await;
    assert_eq!(answer, (204, Some(4), String::new()));
    assert_eq!(hub.read(|state| state.reported.clone()), [json!({ "a": 1 })]);
    for (operation, resource, body) in [
        ("PATCH", reported, "no JSON"),
        ("PATCH", reported, "[]"),
        ("PATCH", Some("/properties/desired"), "{}"),
        ("POST", None, ""),
    ] {
        let (status, _, body) = ask(&mut client, sender, twin_request(operation, resource, body, "3")).await;
        assert_eq!(status, 400, "{operation} {body}");
        assert!(body.contains("errorCode"), "{body}");
    }

    assert_eq!(ask(&mut client, sender, twin_request("PUT", Some(DESIRED), " ", "4")).await.0, 200);
    let link = hub.link("edge/m", Feature::DesiredProperties).await;
    link.desired_changed(json!({ "b": 2, "$version": 3 })).await.unwrap();
    let (transfer, told) = client.hear_message().await;
    assert_eq!((transfer.handle, told.properties.correlation_id.is_none()), (receiver, true));
    assert_eq!(text(&told), r#"{"b":2,"$version":3}"#);
    assert_eq!(told.message_annotations.get("resource"), Some(&DESIRED.into()));
    assert_eq!(ask(&mut client, sender, twin_request("DELETE", Some(DESIRED), " ", "5")).await.0, 200);
    assert!(hub.read(|state| state.features.values().all(std::collections::BTreeSet::is_empty)));
}

#[tokio::test]
async fn answers_go_on_the_other_link_of_the_pair() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let (one, one_answers) = twin_links(&mut client, "twin:1").await;
    let (two, two_answers) = twin_links(&mut client, "twin:2").await;
    for (sender, receiver) in [(two, two_answers), (one, one_answers)] {
        client.send(sender, &twin_request("GET", None, " ", "x")).await;
        let edgectl_wire::amqp::performative::Performative::Disposition(_) = client.hear_event().await else {
            panic!("a request that is not settled is accepted")
        };
        assert_eq!(client.hear_message().await.0.handle, receiver);
    }
}

#[tokio::test]
async fn methods_are_called_and_answered_by_number() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let sender = client.attach(Role::Sender, METHODS).await;
    let receiver = client.attach(Role::Receiver, METHODS).await;
    client.credit(receiver, 0, 100).await;
    let link = hub.link("edge/m", Feature::Methods).await;
    // A UUID comes back as one or as its text.
    for as_text in [false, true] {
        let request = MethodRequest {
            name: "open/door".to_owned(),
            payload: r#"{"n":1}"#.into(),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::ZERO,
        };
        let called = {
            let link = link.clone();
            tokio::spawn(async move { link.invoke(request).await })
        };
        let (transfer, call) = client.hear_message().await;
        assert_eq!((transfer.handle, transfer.settled), (receiver, Some(true)));
        assert_eq!(call.application_properties.get("IoThub-methodname"), Some(&"open/door".into()));
        assert_eq!(text(&call), r#"{"n":1}"#);
        let Some(MessageId::Uuid(number)) = call.properties.correlation_id else { panic!("a number") };
        let mut answer = AnnotatedMessage::of_data("{}");
        answer.properties.correlation_id = Some(if as_text {
            MessageId::String(uuid::Uuid::from_bytes(number).to_string())
        } else {
            MessageId::Uuid(number)
        });
        answer.application_properties.put_text("IoThub-status", Value::Int(217));
        let id = client.send(sender, &answer).await;
        client.settled(id).await;
        assert_eq!(called.await.unwrap(), Ok(MethodResponse { status: 217, payload: "{}".into() }));
    }
}
