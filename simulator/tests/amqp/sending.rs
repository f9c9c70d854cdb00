//! What clients send: telemetry of every kind, and when it is acknowledged.

use bytes::Bytes;
use edgectl_hub::message::system;
use edgectl_wire::amqp::attach::Role;
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::message::{AnnotatedMessage, BATCH_FORMAT, Body};
use edgectl_wire::amqp::open::Close;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::session::Flow;
use edgectl_wire::amqp::transfer::Transfer;
use edgectl_wire::amqp::value::Value;

use crate::memory_hub::MemoryHub;
use crate::raw_client::{EVENTS, RawClient, flow};

fn message(body: &str) -> AnnotatedMessage {
    AnnotatedMessage::of_data(body.to_owned())
}

fn rejected(state: &DeliveryState) -> &str {
    match state {
        DeliveryState::Rejected(Some(error)) => error.condition.as_str(),
        other => panic!("{other:?} is no rejection"),
    }
}

#[tokio::test]
async fn messages_are_acknowledged_when_the_hub_has_them_and_hold_up_nothing() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    hub.set(|state| state.holds_messages = true);
    let first = client.send(events, &message("a")).await;
    client
        .send_as(Transfer { handle: events, settled: Some(true), ..Transfer::default() }, message("b").to_bytes())
        .await;
    let last = client.send(events, &message("c")).await;
    // The connection goes on meanwhile.
    client.flow(Flow { echo: true, ..flow() }).await;
    let Performative::Flow(_) = client.hear().await else { panic!("the flow is answered") };
    hub.set(|state| state.holds_messages = false);
    assert_eq!(client.settled(last).await, [(first, DeliveryState::Accepted), (last, DeliveryState::Accepted)]);
    assert_eq!(hub.bodies(), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_output_and_all_properties_arrive() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    let mut output = message("x");
    output.application_properties.put_text("iothub-outputname", "out".into());
    output.application_properties.put_text("k", Value::Int(1));
    let id = client.send(events, &output).await;
    client.settled(id).await;
    let taken = hub.read(|state| state.messages[0].clone());
    assert_eq!((taken.system.get(system::OUTPUT_NAME), taken.properties.get("k")), (Some("out"), Some("1")));
}

#[tokio::test]
async fn a_batch_is_acknowledged_as_one() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    let sections: Vec<Bytes> = ["a", "b", "c"].map(|body| message(body).to_bytes()).into();
    let batch = AnnotatedMessage { body: Body::Data(sections), ..AnnotatedMessage::default() };
    let transfer = Transfer { handle: events, message_format: Some(BATCH_FORMAT), ..Transfer::default() };
    let id = client.send_as(transfer, batch.to_bytes()).await;
    assert_eq!(client.settled(id).await, [(id, DeliveryState::Accepted)]);
    assert_eq!(hub.bodies(), ["a", "b", "c"]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_rejected_alone() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    let large = client.send(events, &message(&"x".repeat(262_145))).await;
    let value = AnnotatedMessage { body: Body::Value(Value::Int(1)), ..AnnotatedMessage::default() };
    client.send(events, &value).await;
    client.send_as(Transfer { handle: events, ..Transfer::default() }, Bytes::from_static(b"\x40")).await;
    let last = client.send(events, &message("good")).await;
    let settled = client.settled(last).await;
    let conditions: Vec<&str> = settled[..3].iter().map(|(_, state)| rejected(state)).collect();
    assert_eq!(conditions, ["amqp:link:message-size-exceeded", "amqp:decode-error", "amqp:decode-error"]);
    assert_eq!((settled[0].0, &settled[3]), (large, &(last, DeliveryState::Accepted)));
    assert_eq!(hub.bodies(), ["good"]);
}

#[tokio::test]
async fn a_message_may_come_in_many_frames() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    let id = client.send_in_parts(events, &message(&"y".repeat(200_000)), 1000).await;
    client.settled(id).await;
    assert_eq!(hub.bodies(), ["y".repeat(200_000)]);
}

#[tokio::test]
async fn credit_comes_back_with_acknowledgements_and_not_before() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    hub.set(|state| state.holds_messages = true);
    for number in 0..100 {
        client.send(events, &message(&number.to_string())).await;
    }
    client.flow(Flow { handle: Some(events), delivery_count: Some(100), echo: true, ..flow() }).await;
    let Performative::Flow(flow) = client.hear().await else { panic!("the flow is answered") };
    assert_eq!(flow.link_credit, Some(0));
    hub.set(|state| state.holds_messages = false);
    let (mut sent, mut credit, mut acknowledged) = (100, 0, 0);
    while acknowledged < 1000 {
        match client.hear().await {
            Performative::Flow(flow) => credit = flow.delivery_count.unwrap() + flow.link_credit.unwrap(),
            Performative::Disposition(disposition) => {
                acknowledged += disposition.last.unwrap() - disposition.first + 1;
            }
            other => panic!("{other:?}"),
        }
        while sent < credit.min(1000) {
            client.send(events, &message(&sent.to_string())).await;
            sent += 1;
        }
    }
    assert_eq!(hub.bodies(), (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_sends_more_than_was_allowed_loses_the_link() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    hub.set(|state| state.holds_messages = true);
    for _ in 0..=100 {
        client.send(events, &message("x")).await;
    }
    assert_eq!(client.hear_detach(events).await, "amqp:link:transfer-limit-exceeded");
    // It was the client's only link.
    hub.set(|state| state.holds_messages = false);
    hub.until(|state| state.detached == 1).await;
}

#[tokio::test]
async fn what_a_client_sends_just_before_it_leaves_arrives() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let events = client.attach(Role::Sender, EVENTS).await;
    hub.set(|state| state.holds_messages = true);
    client.send(events, &message("last words")).await;
    client.say(Performative::Close(Close::default())).await;
    hub.set(|state| state.holds_messages = false);
    client.settled(0).await;
    assert_eq!(client.hear_event().await, Performative::Close(Close::default()));
    assert_eq!(hub.bodies(), ["last words"]);
    hub.until(|state| state.detached == 1).await;
}
