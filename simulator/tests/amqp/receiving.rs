//! What clients receive: messages that they settle, in every way.

use std::sync::Arc;

use edgectl_hub::gateway::{ClientLink, Delivery, Destination, Feature, LinkClosed, Settlement};
use edgectl_hub::message::{Message, system};
use edgectl_wire::amqp::attach::{Attach, Role};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::open::Open;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::session::Flow;
use edgectl_wire::amqp::transfer::Disposition;
use edgectl_wire::amqp::value::{Map, Value};
use tokio::task::JoinHandle;

use crate::memory_hub::MemoryHub;
use crate::raw_client::{EVENTS, RawClient, TOKEN, attach, certificate, flow, open, text};

/// The hub hands a message to a link.
fn deliver(
    link: &Arc<dyn ClientLink>,
    destination: Destination,
    body: &str,
) -> JoinHandle<Result<Settlement, LinkClosed>> {
    let link = Arc::clone(link);
    let mut message = Message::new(body.to_owned());
    message.system.set(system::CONNECTION_DEVICE_ID, "edge".to_owned());
    message.properties.set("k", "v".to_owned());
    let delivery = Delivery { destination, message: Arc::new(message), redelivered: false };
    tokio::spawn(async move { link.deliver_one(delivery).await })
}

fn input() -> Destination {
    Destination::Input("input1".into())
}

/// A module that receives at its inputs.
async fn receiving(hub: &Arc<MemoryHub>) -> (RawClient, u32, Arc<dyn ClientLink>) {
    let mut client = RawClient::module(hub).await;
    let inputs = client.attach(Role::Receiver, EVENTS).await;
    let link = hub.link("edge/m", Feature::Inputs).await;
    (client, inputs, link)
}

#[tokio::test]
async fn a_module_receives_at_its_inputs_when_it_gives_credit() {
    let hub = MemoryHub::new();
    let (mut client, inputs, link) = receiving(&hub).await;
    let delivered = deliver(&link, input(), "hot");
    client.credit(inputs, 0, 1).await;
    let (transfer, message) = client.hear_message().await;
    assert_eq!((transfer.handle, transfer.settled), (inputs, Some(false)));
    assert_eq!(text(&message), "hot");
    assert_eq!(message.message_annotations.get("x-opt-input-name"), Some(&"input1".into()));
    assert_eq!(message.message_annotations.get("iothub-connection-device-id"), Some(&"edge".into()));
    let Some(Value::Uuid(token)) = message.message_annotations.get("x-opt-lock-token") else { panic!("a lock token") };
    assert_eq!(transfer.delivery_tag.as_deref(), Some(&token[..]));
    assert_eq!(message.application_properties.get("k"), Some(&"v".into()));
    client.settle(transfer.delivery_id.unwrap(), DeliveryState::Accepted).await;
    assert_eq!(delivered.await.unwrap(), Ok(Settlement::Complete));
}

#[tokio::test]
async fn a_device_says_what_becomes_of_messages_from_the_cloud() {
    let hub = MemoryHub::new();
    let mut client = RawClient::connect(&hub).await;
    assert_eq!(client.put_token("hub/devices/leaf", TOKEN).await, 200);
    let from_cloud = client.attach(Role::Receiver, "/devices/leaf/messages/deviceBound").await;
    client.credit(from_cloud, 0, 100).await;
    let link = hub.link("leaf", Feature::CloudToDevice).await;
    let modified = |undeliverable_here| DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here,
        annotations: Map::new(),
    };
    for (state, settlement) in [
        (DeliveryState::Accepted, Settlement::Complete),
        (DeliveryState::Rejected(None), Settlement::Reject),
        (DeliveryState::Released, Settlement::Abandon),
        (modified(false), Settlement::Abandon),
        (modified(true), Settlement::Reject),
    ] {
        let delivered = deliver(&link, Destination::CloudToDevice, "x");
        let (transfer, _) = client.hear_message().await;
        client.settle(transfer.delivery_id.unwrap(), state).await;
        assert_eq!(delivered.await.unwrap(), Ok(settlement));
    }
}

#[tokio::test]
async fn a_client_that_settles_second_is_told_that_the_hub_has() {
    let hub = MemoryHub::new();
    let (mut client, inputs, link) = receiving(&hub).await;
    client.credit(inputs, 0, 10).await;
    let delivered = [deliver(&link, input(), "a"), deliver(&link, input(), "b")];
    let first = client.hear_message().await.0.delivery_id;
    let last = client.hear_message().await.0.delivery_id;
    let disposition = Disposition {
        role: Role::Receiver,
        first: first.unwrap(),
        last,
        settled: false,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    };
    client.say(Performative::Disposition(disposition.clone())).await;
    let answer = Disposition { role: Role::Sender, settled: true, ..disposition };
    assert_eq!(client.hear_event().await, Performative::Disposition(answer));
    for delivered in delivered {
        assert_eq!(delivered.await.unwrap(), Ok(Settlement::Complete));
    }
}

#[tokio::test]
async fn a_link_that_ends_gives_back_what_it_did_not_settle() {
    let hub = MemoryHub::new();
    let (mut client, inputs, link) = receiving(&hub).await;
    client.credit(inputs, 0, 1).await;
    let seen = deliver(&link, input(), "seen");
    client.hear_message().await;
    let waiting = deliver(&link, input(), "waiting for credit");
    client.detach(inputs).await;
    assert_eq!(seen.await.unwrap(), Err(LinkClosed));
    assert_eq!(waiting.await.unwrap(), Err(LinkClosed));
    hub.until(|state| state.detached == 1).await;
    // And on a new link the hub goes on.
    let inputs = client.attach(Role::Receiver, EVENTS).await;
    client.credit(inputs, 0, 1).await;
    let link = hub.link("edge/m", Feature::Inputs).await;
    let again = deliver(&link, input(), "again");
    let (transfer, _) = client.hear_message().await;
    client.settle(transfer.delivery_id.unwrap(), DeliveryState::Accepted).await;
    assert_eq!(again.await.unwrap(), Ok(Settlement::Complete));
}

#[tokio::test]
async fn a_feature_goes_on_while_a_link_for_it_does() {
    let hub = MemoryHub::new();
    let (mut client, first, _) = receiving(&hub).await;
    let second = client.attach(Role::Receiver, EVENTS).await;
    client.credit(second, 0, 1).await;
    client.detach(first).await;
    let link = hub.link("edge/m", Feature::Inputs).await;
    let delivered = deliver(&link, input(), "x");
    let (transfer, _) = client.hear_message().await;
    assert_eq!(transfer.handle, second);
    client.settle(transfer.delivery_id.unwrap(), DeliveryState::Accepted).await;
    assert_eq!(delivered.await.unwrap(), Ok(Settlement::Complete));
}

#[tokio::test]
async fn a_large_message_goes_in_frames_that_the_client_takes_and_as_its_window_opens() {
    let hub = MemoryHub::new();
    let small = Open { max_frame_size: Some(512), ..open() };
    let mut client = RawClient::connect_with(&hub, Some(certificate()), small).await;
    let inputs = client.attach(Role::Receiver, EVENTS).await;
    let link = hub.link("edge/m", Feature::Inputs).await;
    let body = "z".repeat(10_000);
    let _delivered = deliver(&link, input(), &body);
    let window = |next, window| Flow { next_incoming_id: Some(next), incoming_window: window, ..flow() };
    let credit = Flow { handle: Some(inputs), delivery_count: Some(0), link_credit: Some(1), ..window(0, 3) };
    client.flow(credit).await;
    let (mut frames, mut whole) = (0, Vec::new());
    loop {
        let (performative, payload) = client.next().await.unwrap();
        let Performative::Transfer(transfer) = performative else { continue };
        assert!(payload.len() <= 512);
        whole.extend_from_slice(&payload);
        frames += 1;
        if frames % 3 == 0 {
            client.flow(window(frames, 3)).await;
        }
        if !transfer.more {
            break;
        }
    }
    assert!(frames > 20, "{frames}");
    let message = edgectl_wire::amqp::message::AnnotatedMessage::decode(whole.into()).unwrap();
    assert_eq!(text(&message), body);
}

#[tokio::test]
async fn what_is_larger_than_the_client_takes_is_rejected_for_it() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    let inputs = client.attach_as(Attach { max_message_size: Some(300), ..attach(20, Role::Receiver, EVENTS) }).await;
    client.credit(inputs, 0, 10).await;
    let link = hub.link("edge/m", Feature::Inputs).await;
    assert_eq!(deliver(&link, input(), &"x".repeat(300)).await.unwrap(), Ok(Settlement::Reject));
    let _small = deliver(&link, input(), "small");
    assert_eq!(text(&client.hear_message().await.1), "small");
}

#[tokio::test]
async fn credit_that_is_drained_is_used_up_or_given_back() {
    let hub = MemoryHub::new();
    let (mut client, inputs, link) = receiving(&hub).await;
    let _delivered = deliver(&link, input(), "one");
    client.credit(inputs, 0, 1).await;
    client.hear_message().await;
    let drain = Flow { handle: Some(inputs), delivery_count: Some(1), link_credit: Some(5), drain: true, ..flow() };
    client.flow(Flow { next_incoming_id: Some(1), ..drain }).await;
    let Performative::Flow(flow) = client.hear().await else { panic!("the rest is given back") };
    assert_eq!((flow.handle, flow.delivery_count, flow.link_credit), (Some(inputs), Some(6), Some(0)));
}
