//! What the hub sees of a connected client: deliveries and calls go out as packets, their answers come back by number.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgectl_hub::gateway::{ClientLink, CloseReason, Delivery, Destination, LinkClosed, Settlement};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_hub::receipt::Receipt;
use edgectl_schemas::ids::Identity;
use edgectl_wire::mqtt::packet::{Packet, PacketId};
use edgectl_wire::mqtt::publish::{Delivery as Quality, Publish};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use crate::mqtt::{property_bag, topic};

/// One connected client. The connection's task owns the other ends.
pub struct MqttLink {
    identity: Identity,
    outbox: Arc<Outbox>,
    closed: CancellationToken,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last_id: u16,
    receipts: HashMap<PacketId, Receipt>,
    methods: HashMap<String, oneshot::Sender<MethodResponse>>,
    has_ended: bool,
}

impl Waiting {
    /// An identifier that names no delivery. The hub has far fewer under way than there are.
    fn next_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.receipts.contains_key(&id)
            {
                return id;
            }
        }
    }
}

impl MqttLink {
    /// A link whose packets go to `outbox`; cancelling `closed` ends the connection.
    pub fn new(identity: Identity, outbox: Arc<Outbox>, closed: CancellationToken) -> Arc<Self> {
        Arc::new(Self { identity, outbox, closed, waiting: Mutex::default() })
    }

    /// The client settled a delivery.
    pub fn settled(&self, id: PacketId, settlement: Settlement) {
        let receipt = self.lock().receipts.remove(&id);
        if let Some(receipt) = receipt {
            receipt.settle(settlement);
        }
    }

    /// The connection is over: what was not acknowledged never will be.
    pub fn end(&self) {
        let receipts = {
            let mut waiting = self.lock();
            waiting.has_ended = true;
            std::mem::take(&mut waiting.receipts)
        };
        drop(receipts);
    }

    /// The client answered a method.
    pub fn method_answered(&self, request_id: &str, response: MethodResponse) {
        if let Some(waiting) = self.lock().methods.remove(request_id) {
            // The caller may have given up.
            let _ = waiting.send(response);
        }
    }

    async fn put(&self, packet: Packet) -> Result<(), LinkClosed> {
        tokio::select! {
            // Nothing is written on a connection that is closed.
            biased;
            () = self.closed.cancelled() => Err(LinkClosed),
            () = self.outbox.put_patiently(&packet) => Ok(()),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, LinkClosed> {
        tokio::select! {
            () = self.closed.cancelled() => Err(LinkClosed),
            answer = answer => answer.map_err(|_| LinkClosed),
        }
    }

    /// The packet of a delivery, if there is one: topics longer than MQTT allows cannot be written.
    fn packet(&self, delivery: &Delivery, id: PacketId) -> Option<Packet> {
        let mut topic = match &delivery.destination {
            Destination::Input(input) => topic::input(&self.identity, input),
            Destination::CloudToDevice => topic::device_bound(&self.identity),
        };
        property_bag::write_from_hub(&delivery.message, &mut topic);
        let quality = Quality::AtLeastOnce { id, duplicate: delivery.redelivered };
        let payload = delivery.message.body.clone();
        u16::try_from(topic.len()).is_ok().then_some(Packet::Publish(Publish {
            topic,
            payload,
            delivery: quality,
            retain: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClientLink for MqttLink {
    fn deliver(&self, deliveries: Vec<(Delivery, Receipt)>) {
        let mut packets = Vec::with_capacity(deliveries.len());
        {
            let mut waiting = self.lock();
            if waiting.has_ended {
                return;
            }
            for (delivery, receipt) in deliveries {
                let id = waiting.next_id();
                match self.packet(&delivery, id) {
                    Some(packet) => {
                        packets.push(packet);
                        waiting.receipts.insert(id, receipt);
                    }
                    // It is a message that no MQTT client can get.
                    None => receipt.settle(Settlement::Reject),
                }
            }
        }
        self.outbox.put(&packets);
    }

    async fn desired_changed(&self, patch: Value) -> Result<(), LinkClosed> {
        let version = patch.get("$version").and_then(Value::as_u64).unwrap_or_default();
        self.put(unacknowledged(topic::desired(version), patch.to_string().into())).await
    }

    async fn invoke(&self, request: MethodRequest) -> Result<MethodResponse, LinkClosed> {
        let request_id = uuid::Uuid::new_v4().simple().to_string();
        let (respond, answer) = oneshot::channel();
        self.lock().methods.insert(request_id.clone(), respond);
        let forget = ForgetMethod { link: self, request_id: &request_id };
        self.put(unacknowledged(topic::method(&request.name, &request_id), request.payload)).await?;
        let response = self.answer(answer).await;
        drop(forget);
        response
    }

    fn close(&self, reason: CloseReason) {
        tracing::debug!(identity = %self.identity, ?reason, "the connection is closed");
        self.closed.cancel();
    }
}

/// A packet of quality 0.
pub fn unacknowledged(topic: String, payload: Bytes) -> Packet {
    Packet::Publish(Publish { topic, payload, delivery: Quality::AtMostOnce, retain: false })
}

/// Forgets a call that is given up.
struct ForgetMethod<'a> {
    link: &'a MqttLink,
    request_id: &'a str,
}

impl Drop for ForgetMethod<'_> {
    fn drop(&mut self) {
        self.link.lock().methods.remove(self.request_id);
    }
}
