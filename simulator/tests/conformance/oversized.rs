//! Messages at the limit, and above it.

use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message};

use crate::clients::client::{Refused, connect};
use crate::door::Door;
use crate::site::Site;
use crate::table::Behaviour;

fn refused(door: Door) -> Refused {
    match door {
        Door::Mqtt | Door::MqttSocket => Refused::Closed,
        Door::Amqp | Door::AmqpSocket => Refused::condition("amqp:link:message-size-exceeded"),
        Door::Https => Refused::Status(413),
    }
}

fn message(bytes: usize) -> Message {
    let mut message = Message::new(vec![b'x'; bytes - "room".len() - "kiln".len()]);
    message.properties.set("room", "kiln".to_owned());
    message
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_just_not_is_taken() {
    let site = Site::start().await;
    site.route_all_up().await;
    for (hub, door) in Behaviour::Telemetry.places() {
        let module = format!("edge/{hub}-{door}");
        site.add_module(&module);
        // Above the hub's limit, and above what the protocol's front end reads at all.
        for bytes in [MAX_MESSAGE_BYTES + 1, 5 * MAX_MESSAGE_BYTES] {
            let mut client = connect(&site, (hub, door), &module).await;
            assert_eq!(client.send(&message(bytes)).await, Err(refused(door)), "{bytes} bytes from {module}");
        }
        let mut client = connect(&site, (hub, door), &module).await;
        if matches!(door, Door::Amqp | Door::AmqpSocket) {
            // It alone is rejected, and the link goes on.
            assert_eq!(client.send(&message(MAX_MESSAGE_BYTES + 1)).await, Err(refused(door)), "{module}");
        }
        assert_eq!(client.send(&message(MAX_MESSAGE_BYTES)).await, Ok(()), "{module}");
        assert_eq!(client.send(&Message::new("small")).await, Ok(()), "{module}");
        assert_eq!(site.received(&module, 2).await[1]["body"], "small", "{module}");
    }
    site.stop().await;
}
