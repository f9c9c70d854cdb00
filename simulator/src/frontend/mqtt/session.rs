//! What a connected client's packets mean to the hub. Nothing here reads or writes: packets come in, what they ask for
//! goes into lanes, and what comes out of those goes back.

use std::sync::Arc;

use bytes::Bytes;
use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Attachment, Client, Gateway, Refusal, Settlement};
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message};
use edgectl_hub::method::MethodResponse;
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::{SubAck, Subscribe, Unsubscribe};
use serde_json::Value;

use super::link::{MqttLink, unacknowledged};
use crate::frontend::lane::{MessageLane, RequestLane};
use crate::frontend::twin_refusal::{twin_body, twin_status};
use crate::mqtt::property_bag;
use crate::mqtt::topic::{self, Published};

/// Why a connection ends, for the log: MQTT has no words for it.
pub type Reason = &'static str;

/// The session of a client that was let in.
pub struct Session {
    gateway: Arc<dyn Gateway>,
    attachment: Attachment,
    link: Arc<MqttLink>,
    clock: Arc<dyn Clock>,
    /// Where the client's messages come from, up to their properties.
    own_topic: String,
    messages: MessageLane<PacketId>,
    subscriptions: RequestLane<Result<Packet, Refusal>>,
    twin_requests: RequestLane<Option<Packet>>,
}

impl Session {
    /// The session of a client that the hub has attached; `link` is the hub's way back.
    pub fn new(gateway: Arc<dyn Gateway>, attachment: Attachment, link: Arc<MqttLink>, clock: Arc<dyn Clock>) -> Self {
        let messages = MessageLane::new(Arc::clone(&gateway), attachment.client.clone());
        let (subscriptions, twin_requests) = (RequestLane::default(), RequestLane::default());
        let own_topic = topic::messages(&attachment.client.identity, "");
        Self { gateway, attachment, link, clock, own_topic, messages, subscriptions, twin_requests }
    }

    /// Who the client is.
    pub fn client(&self) -> &Client {
        &self.attachment.client
    }

    /// Whether another packet may be taken; else the client has to wait for what it asked before.
    pub fn has_room(&self) -> bool {
        self.messages.has_room() && self.subscriptions.has_room() && self.twin_requests.has_room()
    }

    /// Whether the hub has done all that the client asked.
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.subscriptions.is_empty() && self.twin_requests.is_empty()
    }

    /// Takes a packet. Returns what is answered at once, or why the connection ends after all that was asked before.
    pub fn received(&mut self, packet: Packet) -> Result<Option<Packet>, Reason> {
        match packet {
            Packet::Publish(publish) => self.published(publish)?,
            Packet::PubAck(id) => self.link.settled(id, Settlement::Complete),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe),
            Packet::PingReq => return Ok(Some(Packet::PingResp)),
            Packet::Disconnect => return Err("the client disconnected"),
            _ => return Err("the packet is not one that a client may send now"),
        }
        Ok(None)
    }

    /// Waits until the hub has done something, and returns what is to be told of it, or why the connection ends. Never
    /// returns while the session is idle. May be dropped and called again.
    pub async fn progress(&mut self) -> Result<Vec<Packet>, Reason> {
        // A twin that is asked for after a subscription must not be older than the first change that is told.
        let subscribed = self.subscriptions.is_empty();
        tokio::select! {
            // A request is acknowledged before it is answered.
            biased;
            (acknowledged, taken) = self.messages.done() => match taken {
                Ok(()) => Ok(acknowledged.into_iter().map(Packet::PubAck).collect()),
                Err(refusal) => {
                    tracing::warn!(client = %self.attachment.client.identity, %refusal, "messages were refused");
                    Err("a message was refused")
                }
            },
            answer = self.subscriptions.done() => answer.map(|answer| vec![answer]).map_err(|refusal| {
                // The SDKs take no notice of a refusal in SUBACK.
                tracing::warn!(client = %self.attachment.client.identity, %refusal, "a subscription was refused");
                "a subscription was refused"
            }),
            answer = self.twin_requests.done(), if subscribed => Ok(answer.into_iter().collect()),
        }
    }

    /// Tells the hub that the connection is over.
    pub async fn end(self) {
        self.gateway.detach(&self.attachment).await;
    }

    fn published(&mut self, publish: Publish) -> Result<(), Reason> {
        let acknowledgement = match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } => Some(id),
            Delivery::ExactlyOnce { .. } => return Err("quality of service 2 is not served"),
        };
        if let Some(bag) = publish.topic.strip_prefix(&self.own_topic) {
            let message = read_message(bag, &publish)?;
            self.messages.push(Some(message), acknowledgement);
            return Ok(());
        }
        let mut message = None;
        match Published::parse(&publish.topic) {
            Published::Message { from, bag } if from == self.attachment.client.identity => {
                message = Some(read_message(&bag, &publish)?);
            }
            Published::Message { .. } => return Err("the topic is another client's"),
            Published::Forbidden => return Err("the topic means nothing"),
            Published::Unknown => {
                let client = &self.attachment.client.identity;
                tracing::warn!(%client, topic = publish.topic, "a message to an unknown topic is dropped");
            }
            Published::GetTwin { request_id } => self.get_twin(request_id),
            Published::Report { request_id } => self.report(request_id, publish.payload),
            Published::MethodResponse { status, request_id } => {
                self.link.method_answered(&request_id, MethodResponse { status, payload: publish.payload });
            }
            Published::Settled { id, settlement } => self.link.settled(id, settlement),
        }
        self.messages.push(message, acknowledgement);
        Ok(())
    }

    fn get_twin(&mut self, request_id: String) {
        let (gateway, client) = (Arc::clone(&self.gateway), self.attachment.client.clone());
        let clock = Arc::clone(&self.clock);
        self.twin_requests.push(async move {
            Some(match gateway.twin(&client).await {
                Ok(twin) => unacknowledged(topic::twin_answer(200, &request_id, None), twin.to_string().into()),
                Err(refusal) => twin_refused(&request_id, &refusal, clock.as_ref()),
            })
        });
    }

    fn report(&mut self, request_id: Option<String>, payload: Bytes) {
        let (gateway, client) = (Arc::clone(&self.gateway), self.attachment.client.clone());
        let clock = Arc::clone(&self.clock);
        self.twin_requests.push(async move {
            let reported = match serde_json::from_slice::<Value>(&payload) {
                Ok(patch) => gateway.report(&client, patch).await,
                Err(error) => Err(Refusal::Invalid(format!("the patch is not JSON: {error}"))),
            };
            // Without a number for it no answer is expected.
            request_id.map(|request_id| match reported {
                Ok(version) => unacknowledged(topic::twin_answer(204, &request_id, version), Bytes::new()),
                Err(refusal) => twin_refused(&request_id, &refusal, clock.as_ref()),
            })
        });
    }

    fn subscribe(&mut self, subscribe: Subscribe) {
        let (gateway, attachment) = (Arc::clone(&self.gateway), self.attachment.clone());
        self.subscriptions.push(async move {
            let mut granted = Vec::with_capacity(subscribe.filters.len());
            for (filter, quality) in &subscribe.filters {
                match topic::feature_of(filter) {
                    Some(feature) => gateway.subscribe(&attachment, feature).await?,
                    // Answers go to who asked, subscribed or not: one of the SDKs relies on it.
                    None if filter == topic::TWIN_ANSWERS => {}
                    None => tracing::info!(filter, "a subscription without effect"),
                }
                granted.push(Some((*quality).min(QualityOfService::AtLeastOnce)));
            }
            Ok(Packet::SubAck(SubAck { id: subscribe.id, granted }))
        });
    }

    fn unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let (gateway, attachment) = (Arc::clone(&self.gateway), self.attachment.clone());
        self.subscriptions.push(async move {
            for feature in unsubscribe.filters.iter().filter_map(|filter| topic::feature_of(filter)) {
                gateway.unsubscribe(&attachment, feature).await?;
            }
            Ok(Packet::UnsubAck(unsubscribe.id))
        });
    }
}

/// A message for the hub. One that is too large is found here, so that it alone is refused, and not those with it.
fn read_message(bag: &str, publish: &Publish) -> Result<Message, Reason> {
    let mut message = Message::new(publish.payload.clone());
    property_bag::read(bag, &mut message);
    if publish.retain {
        message.properties.set("mqtt-retain", "true".to_owned());
    }
    if message.size() > MAX_MESSAGE_BYTES { Err("a message is too large") } else { Ok(message) }
}

fn twin_refused(request_id: &str, refusal: &Refusal, clock: &dyn Clock) -> Packet {
    let body = twin_body(refusal, &clock.now_text());
    unacknowledged(topic::twin_answer(twin_status(refusal), request_id, None), body.to_string().into())
}
