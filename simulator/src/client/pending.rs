//! What a client waits for, across connections.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU16;

use edgectl_hub::gateway::Feature;
use edgectl_hub::message::Message;
use edgectl_schemas::ids::Identity;
use edgectl_wire::mqtt::packet::{Packet, PacketId};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use serde_json::Value;
use tokio::sync::oneshot;

use super::device_client::ClientError;
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
    /// Waits for a place in the window.
    waiting: VecDeque<(Message, Done<()>)>,
    subscriptions: HashMap<PacketId, Done<()>>,
    twins: HashMap<String, TwinRequest>,
    /// The features that the owner wants.
    pub features: BTreeSet<Feature>,
}

/// A request about the twin.
pub enum TwinRequest {
    /// The whole twin.
    Get(Done<Value>),
    /// Reported properties.
    Report(Done<Option<u64>>),
}

impl Pending {
    /// Takes a message that is to be sent.
    pub fn add_message(&mut self, message: Message, done: Done<()>) {
        self.waiting.push_back((message, done));
    }

    /// The publishes that may go out now.
    pub fn next_publishes(&mut self, identity: &Identity) -> Vec<Packet> {
        let mut packets = Vec::new();
        while self.sent.len() < WINDOW {
            let Some((message, done)) = self.waiting.pop_front() else { break };
            let topic = topic::messages(identity, &property_bag::write_from_client(&message));
            if topic.len() > usize::from(u16::MAX) {
                let message = "the properties do not fit into a topic of MQTT".to_owned();
                // Nobody may wait any more.
                let _ = done.send(Err(ClientError::Refused { status: 400, message }));
                continue;
            }
            let id = self.free_id();
            let delivery = Delivery::AtLeastOnce { id, duplicate: false };
            let publish = Publish { topic, payload: message.body, delivery, retain: false };
            packets.push(Packet::Publish(publish.clone()));
            self.order += 1;
            self.by_id.insert(id, self.order);
            self.sent.insert(self.order, (id, publish, done));
        }
        packets
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
        let sent = std::mem::take(&mut self.sent).into_values().map(|(_, _, done)| done);
        for done in sent.chain(std::mem::take(&mut self.waiting).into_iter().map(|(_, done)| done)) {
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
