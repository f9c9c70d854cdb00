//! What a client waits for, across connections.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

use edgectl_hub::gateway::Feature;
use edgectl_schemas::ids::Identity;
use edgectl_wire::mqtt::packet::{Packet, PacketId};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use serde_json::Value;
use tokio::sync::oneshot;

use super::device_client::{ClientError, Outgoing};
use crate::mqtt::{property_bag, topic};

/// Publishes that may be on their way at once.
const WINDOW: usize = 64;

/// Who waits for the end of an exchange.
pub type Done<T> = oneshot::Sender<Result<T, ClientError>>;

/// What is not answered yet.
#[derive(Default)]
pub struct Pending {
    last_id: u16,
    /// Sent and not acknowledged, in the order of sending.
    sent: BTreeMap<u64, (PacketId, Publish, Done<()>)>,
    order: u64,
    by_id: HashMap<PacketId, u64>,
    subscriptions: HashMap<PacketId, Done<()>>,
    twins: HashMap<String, TwinRequest>,
    /// What the owner wants, and wants no more.
    features: BTreeMap<Feature, bool>,
}

/// A request about the twin.
pub enum TwinRequest {
    /// The whole twin.
    Get(Done<Value>),
    /// Reported properties.
    Report(Done<Option<u64>>),
}

impl Pending {
    /// Whether another message may go out before one is acknowledged.
    pub fn has_room(&self) -> bool {
        self.sent.len() < WINDOW
    }

    /// Takes a message; returns what is to be sent. None if it cannot be, which its sender is told.
    pub(super) fn add_message(&mut self, outgoing: Outgoing, identity: &Identity) -> Option<Packet> {
        let Outgoing { message, done } = outgoing;
        let topic = topic::messages(identity, &property_bag::write_from_client(&message));
        if topic.len() > usize::from(u16::MAX) {
            let message = "the properties do not fit into a topic of MQTT".to_owned();
            // Nobody may wait any more.
            let _ = done.send(Err(ClientError::Refused { status: 400, message }));
            return None;
        }
        let id = self.free_id();
        let delivery = Delivery::AtLeastOnce { id, duplicate: false };
        let publish = Publish { topic, payload: message.body, delivery, retain: false };
        self.order += 1;
        self.by_id.insert(id, self.order);
        self.sent.insert(self.order, (id, publish.clone(), done));
        Some(Packet::Publish(publish))
    }

    /// The features that the owner has asked about, and whether it wants them.
    pub fn features(&self) -> Vec<(Feature, bool)> {
        self.features.iter().map(|(feature, wanted)| (*feature, *wanted)).collect()
    }

    /// Whether the owner wants a feature.
    pub fn remember(&mut self, feature: Feature, wanted: bool) {
        self.features.insert(feature, wanted);
    }

    /// Whether the hub has to answer about the twin.
    pub fn waits_for_twin(&self) -> bool {
        !self.twins.is_empty()
    }

    /// After a new connection: everything sent and not acknowledged goes again, marked as a repetition.
    pub fn repeated(&mut self) -> Vec<Packet> {
        let again = self.sent.values().map(|(id, publish, _)| {
            Packet::Publish(Publish { delivery: Delivery::AtLeastOnce { id: *id, duplicate: true }, ..publish.clone() })
        });
        again.collect()
    }

    /// The hub acknowledged a message.
    pub fn acknowledged(&mut self, id: PacketId) {
        if let Some((_, _, done)) = self.by_id.remove(&id).and_then(|order| self.sent.remove(&order)) {
            let _ = done.send(Ok(()));
        }
    }

    /// Takes a subscription; who asked is told when the hub has answered.
    pub fn add_subscription(&mut self, done: Option<Done<()>>) -> PacketId {
        let id = self.free_id();
        if let Some(done) = done {
            self.subscriptions.insert(id, done);
        }
        id
    }

    /// The hub answered a subscription.
    pub fn subscribed(&mut self, id: PacketId) {
        if let Some(done) = self.subscriptions.remove(&id) {
            let _ = done.send(Ok(()));
        }
    }

    /// Takes a request about the twin; returns its number.
    pub fn add_twin(&mut self, request: TwinRequest) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.twins.insert(id.clone(), request);
        id
    }

    /// The hub answered a request about the twin.
    pub fn twin_answered(&mut self, id: &str, status: u16, version: Option<u64>, payload: &[u8]) {
        let Some(request) = self.twins.remove(id) else { return };
        let refused = || ClientError::Refused { status, message: message_of(payload) };
        let accepted = status < 300;
        match request {
            TwinRequest::Get(done) => {
                let twin = serde_json::from_slice(payload).map_err(|_| refused());
                let _ = done.send(if accepted { twin } else { Err(refused()) });
            }
            TwinRequest::Report(done) => {
                let _ = done.send(if accepted { Ok(version) } else { Err(refused()) });
            }
        }
    }

    /// The connection is gone: requests that belong to it are given up. Messages stay.
    pub fn disconnected(&mut self) {
        for (_, request) in self.twins.drain() {
            match request {
                TwinRequest::Get(done) => drop(done.send(Err(ClientError::Offline))),
                TwinRequest::Report(done) => drop(done.send(Err(ClientError::Offline))),
            }
        }
        // What was subscribed is remembered and subscribed again.
        for (_, done) in self.subscriptions.drain() {
            let _ = done.send(Ok(()));
        }
    }

    /// Nothing will be answered any more.
    pub fn close(&mut self) {
        self.disconnected();
        for (_, _, done) in std::mem::take(&mut self.sent).into_values() {
            let _ = done.send(Err(ClientError::Closed));
        }
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.by_id.contains_key(&id)
                && !self.subscriptions.contains_key(&id)
            {
                return id;
            }
        }
    }
}

/// The hub's words in an answer that says no.
fn message_of(payload: &[u8]) -> String {
    let body: Value = serde_json::from_slice(payload).unwrap_or_default();
    body.get("message").and_then(Value::as_str).unwrap_or("no reason given").to_owned()
}
