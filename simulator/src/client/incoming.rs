//! What comes from the hub, made into events; what the owner answers goes back as packets.

use std::time::Duration;

use bytes::Bytes;
use edgectl_hub::gateway::{Destination, Settlement};
use edgectl_hub::message::Message;
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_wire::mqtt::packet::{Packet, PacketId};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use tokio::sync::{mpsc, oneshot};

use super::device_client::{ClientEvent, IncomingDelivery};
use crate::mqtt::{property_bag, topic};

/// A message. The hub is told when the owner settles it.
pub(super) fn delivery(
    destination: Destination,
    bag: &str,
    publish: Publish,
    out: &mpsc::Sender<Packet>,
) -> ClientEvent {
    let (id, redelivered) = match publish.delivery {
        Delivery::AtLeastOnce { id, duplicate } => (Some(id), duplicate),
        Delivery::AtMostOnce | Delivery::ExactlyOnce { .. } => (None, false),
    };
    let mut message = Message::new(publish.payload);
    property_bag::read(bag, &mut message);
    let settle = id.map(|id| settle(id, out.clone()));
    ClientEvent::Delivery(IncomingDelivery { destination, message, redelivered, settle })
}

fn settle(id: PacketId, out: mpsc::Sender<Packet>) -> oneshot::Sender<Settlement> {
    let (settle, settled) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            settled = settled => if let Ok(settlement) = settled {
                let packet = match topic::settlement(id, settlement) {
                    Some(topic) => unacknowledged(topic, Bytes::new()),
                    None => Packet::PubAck(id),
                };
                // A connection that is gone cannot be told; the message comes again.
                let _ = out.send(packet).await;
            },
            () = out.closed() => {}
        }
    });
    settle
}

/// A call. The owner's answer is sent when it has one.
pub(super) fn method(name: String, request_id: String, publish: Publish, out: mpsc::Sender<Packet>) -> ClientEvent {
    let (respond, answer) = oneshot::channel();
    tokio::spawn(async move {
        if let Ok(MethodResponse { status, payload }) = answer.await {
            // A caller behind a connection that is gone has given up.
            let _ = out.send(unacknowledged(topic::method_response(status, &request_id), payload)).await;
        }
    });
    let request = MethodRequest {
        name,
        payload: publish.payload,
        // The hub keeps the time.
        response_timeout: Duration::MAX,
        connect_timeout: Duration::ZERO,
    };
    ClientEvent::Method { request, respond }
}

/// A packet of quality 0.
pub(super) fn unacknowledged(topic: String, payload: Bytes) -> Packet {
    Packet::Publish(Publish { topic, payload, delivery: Delivery::AtMostOnce, retain: false })
}
