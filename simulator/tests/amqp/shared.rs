//! Several clients on one connection: none is in the way of another.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::gateway::{ClientLink, CloseReason, Feature};
use edgectl_schemas::ids::Identity;
use edgectl_wire::amqp::attach::Role;
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::session::Flow;
use tokio::time::Instant;

use crate::memory_hub::MemoryHub;
use crate::raw_client::{EVENTS, RawClient, TOKEN, flow};

const DEVICE_EVENTS: &str = "/devices/leaf/messages/events";

/// A token that ends a time after the beginning of a test.
fn short_token(seconds: u64) -> String {
    let ends = 4_102_444_800 - 3600 + seconds;
    format!("SharedAccessSignature sr=r&sig=c2ln&se={ends}")
}

fn hub_link(hub: &Arc<MemoryHub>, identity: &str) -> Arc<dyn ClientLink> {
    let identity = Identity::parse(identity).unwrap();
    hub.read(|state| Arc::clone(&state.links[&identity].1))
}

#[tokio::test]
async fn a_device_and_a_module_share_a_connection_and_end_apart() {
    let hub = MemoryHub::new();
    let mut client = RawClient::module(&hub).await;
    assert_eq!(client.put_token("hub/devices/leaf", TOKEN).await, 200);
    let of_module = client.attach(Role::Sender, EVENTS).await;
    let inputs = client.attach(Role::Receiver, EVENTS).await;
    let of_device = client.attach(Role::Sender, DEVICE_EVENTS).await;
    hub.link("edge/m", Feature::Inputs).await;

    hub_link(&hub, "edge/m").close(CloseReason::TakenOver);
    assert_eq!(client.hear_detach(of_module).await, "amqp:link:stolen");
    assert_eq!(client.hear_detach(inputs).await, "amqp:link:stolen");
    let id = client.send(of_device, &AnnotatedMessage::of_data("still here")).await;
    assert_eq!(client.settled(id).await, [(id, DeliveryState::Accepted)]);
    // The module has to prove anew who it is.
    assert_eq!(client.refused(Role::Sender, EVENTS).await, "amqp:unauthorized-access");
}

#[tokio::test(start_paused = true)]
async fn links_end_with_their_token_and_go_on_with_a_new_one() {
    let hub = MemoryHub::new();
    let mut client = RawClient::connect(&hub).await;
    let begun = Instant::now();
    assert_eq!(client.put_token("hub/devices/edge/modules/m", &short_token(60)).await, 200);
    assert_eq!(client.put_token("hub/devices/leaf", &short_token(60)).await, 200);
    let of_module = client.attach(Role::Sender, EVENTS).await;
    let of_device = client.attach(Role::Sender, DEVICE_EVENTS).await;
    assert_eq!(client.put_token("hub/devices/leaf", &short_token(200)).await, 200);
    for (handle, seconds) in [(of_module, 60), (of_device, 200)] {
        let error = loop {
            tokio::select! {
                biased;
                error = client.hear_detach(handle) => break error,
                () = tokio::time::sleep(Duration::from_secs(100)) => client.keep_alive().await,
            }
        };
        assert_eq!(error, "amqp:unauthorized-access");
        let elapsed = begun.elapsed();
        // Five minutes more, because clocks differ.
        assert!(elapsed >= Duration::from_secs(seconds + 299), "{elapsed:?}");
        client.flow(Flow { echo: true, ..flow() }).await;
        let Performative::Flow(_) = client.hear().await else { panic!("the connection goes on") };
    }
    hub.until(|state| state.detached == 2).await;
}
