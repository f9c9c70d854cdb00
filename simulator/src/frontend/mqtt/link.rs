//! What the hub sees of a connected client: deliveries and calls go out as packets, their answers come back by number.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use edgectl_hub::gateway::{ClientLink, CloseReason, Delivery, Destination, LinkClosed, Settlement};
use edgectl_hub::method::{MethodRequest, MethodResponse};
use edgectl_schemas::ids::Identity;
use edgectl_wire::mqtt::packet::{Packet, PacketId};
use edgectl_wire::mqtt::publish::{Delivery as Quality, Publish};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::mqtt::{property_bag, topic};

/// One connected client. The connection's task owns the other ends.
pub struct MqttLink {
    identity: Identity,
    out: mpsc::Sender<Packet>,
    closed: CancellationToken,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last_id: u16,
    deliveries: HashMap<PacketId, oneshot::Sender<()>>,
    methods: HashMap<String, oneshot::Sender<MethodResponse>>,
}

impl MqttLink {
    /// A link whose packets go to `out`; cancelling `closed` ends the connection.
    pub fn new(identity: Identity, out: mpsc::Sender<Packet>, closed: CancellationToken) -> Arc<Self> {
        Arc::new(Self { identity, out, closed, waiting: Mutex::default() })
    }

    /// The client acknowledged a delivery.
    pub fn acknowledged(&self, id: PacketId) {
        if let Some(waiting) = self.lock().deliveries.remove(&id) {
            // A delivery that nobody waits for any more will be made again, which at-least-once allows.
            let _ = waiting.send(());
        }
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
            sent = self.out.send(packet) => sent.map_err(|_| LinkClosed),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, LinkClosed> {
        tokio::select! {
            () = self.closed.cancelled() => Err(LinkClosed),
            answer = answer => answer.map_err(|_| LinkClosed),
        }
    }

    fn register(&self) -> (PacketId, oneshot::Receiver<()>) {
        let (done, settled) = oneshot::channel();
        let mut waiting = self.lock();
        loop {
            waiting.last_id = waiting.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(waiting.last_id)
                && !waiting.deliveries.contains_key(&id)
            {
                waiting.deliveries.insert(id, done);
                return (id, settled);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClientLink for MqttLink {
    async fn deliver(&self, delivery: Delivery) -> Result<Settlement, LinkClosed> {
        let bag = property_bag::write_from_hub(&delivery.message);
        let topic = match &delivery.destination {
            Destination::Input(input) => topic::input(&self.identity, input, &bag),
            Destination::CloudToDevice => topic::device_bound(&self.identity, &bag),
        };
        // Topics longer than this cannot be written; the message is one that no MQTT client can get.
        if topic.len() > usize::from(u16::MAX) {
            return Ok(Settlement::Reject);
        }
        let (id, settled) = self.register();
        let forget = Forget { link: self, id };
        let quality = Quality::AtLeastOnce { id, duplicate: delivery.redelivered };
        self.put(Packet::Publish(Publish { topic, payload: delivery.message.body, delivery: quality, retain: false }))
            .await?;
        self.answer(settled).await?;
        drop(forget);
        // MQTT has no way to say no.
        Ok(Settlement::Complete)
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

/// Forgets a delivery that is given up.
struct Forget<'a> {
    link: &'a MqttLink,
    id: PacketId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.lock().deliveries.remove(&self.id);
    }
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
