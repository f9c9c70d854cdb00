//! What a connected client's packets mean to the hub.

use std::sync::Arc;

use bytes::Bytes;
use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Attachment, Gateway, Refusal};
use edgectl_hub::message::Message;
use edgectl_hub::method::MethodResponse;
use edgectl_wire::mqtt::packet::{Packet, PacketId, QualityOfService};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use edgectl_wire::mqtt::subscribe::{SubAck, Subscribe, Unsubscribe};
use serde_json::Value;

use super::link::{MqttLink, unacknowledged};
use super::refusal::{twin_body, twin_status};
use crate::mqtt::property_bag;
use crate::mqtt::topic::{self, Published};

/// A client that was let in.
pub struct ConnectedClient {
    /// The hub.
    pub gateway: Arc<dyn Gateway>,
    /// The client's connection, as the hub knows it.
    pub attachment: Attachment,
    /// The way back from the hub.
    pub link: Arc<MqttLink>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What the connection does next.
#[derive(Debug)]
pub enum Reaction {
    /// Sends packets, perhaps none.
    Send(Vec<Packet>),
    /// Ends, because the client wants to or did what it may not.
    Close(&'static str),
}

impl ConnectedClient {
    /// Hands on what the client sent, in order. Publishes that came together are given to the hub together, so that what
    /// it costs to keep them is paid once.
    pub async fn handle(&self, packets: Vec<Packet>) -> Reaction {
        let mut answers = Vec::new();
        let mut messages = Messages::default();
        for packet in packets {
            let packet = match packet {
                Packet::Publish(publish) => match self.sort(publish, &mut messages) {
                    Sorted::Taken => continue,
                    Sorted::Forbidden(reason) => return Reaction::Close(reason),
                    Sorted::Other(published, publish) => {
                        if let Err(reason) = self.flush(&mut messages, &mut answers).await {
                            return Reaction::Close(reason);
                        }
                        self.published(published, publish, &mut answers).await;
                        continue;
                    }
                },
                other => other,
            };
            if let Err(reason) = self.flush(&mut messages, &mut answers).await {
                return Reaction::Close(reason);
            }
            match packet {
                Packet::PubAck(id) => self.link.acknowledged(id),
                Packet::Subscribe(subscribe) => match self.subscribe(subscribe).await {
                    Ok(answer) => answers.push(answer),
                    Err(_) => return Reaction::Close("the subscription was refused"),
                },
                Packet::Unsubscribe(unsubscribe) => match self.unsubscribe(unsubscribe).await {
                    Ok(answer) => answers.push(answer),
                    Err(_) => return Reaction::Close("the subscription was refused"),
                },
                Packet::PingReq => answers.push(Packet::PingResp),
                Packet::Disconnect => return Reaction::Close("the client disconnected"),
                _ => return Reaction::Close("the packet is not one that a client may send now"),
            }
        }
        match self.flush(&mut messages, &mut answers).await {
            Ok(()) => Reaction::Send(answers),
            Err(reason) => Reaction::Close(reason),
        }
    }

    /// Sorts a publish: messages are gathered, the rest is done one by one.
    fn sort(&self, publish: Publish, messages: &mut Messages) -> Sorted {
        let acknowledgement = match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } => Some(id),
            Delivery::ExactlyOnce { .. } => return Sorted::Forbidden("quality of service 2 is not served"),
        };
        match Published::parse(&publish.topic) {
            Published::Message { from, bag } if from == self.attachment.client.identity => {
                let mut message = Message::new(publish.payload);
                property_bag::read(&bag, &mut message);
                if publish.retain {
                    message.properties.set("mqtt-retain", "true".to_owned());
                }
                messages.push(message, acknowledgement);
                Sorted::Taken
            }
            Published::Message { .. } => Sorted::Forbidden("the topic is another client's"),
            Published::Forbidden => Sorted::Forbidden("the topic means nothing"),
            Published::Unknown => {
                tracing::warn!(topic = publish.topic, "a message to an unknown topic is dropped");
                messages.acknowledge(acknowledgement);
                Sorted::Taken
            }
            other => Sorted::Other(other, publish),
        }
    }

    /// Gives the gathered messages to the hub; acknowledges them when it has them.
    async fn flush(&self, messages: &mut Messages, answers: &mut Vec<Packet>) -> Result<(), &'static str> {
        let Messages { bodies, acknowledgements } = std::mem::take(messages);
        if !bodies.is_empty() {
            self.gateway.send(&self.attachment.client, bodies).await.map_err(|refusal| {
                tracing::warn!(client = %self.attachment.client.identity, %refusal, "messages were refused");
                "a message was refused"
            })?;
        }
        answers.extend(acknowledgements.into_iter().map(Packet::PubAck));
        Ok(())
    }

    async fn published(&self, published: Published, publish: Publish, answers: &mut Vec<Packet>) {
        if let Delivery::AtLeastOnce { id, .. } = publish.delivery {
            answers.push(Packet::PubAck(id));
        }
        match published {
            Published::GetTwin { request_id } => answers.push(self.get_twin(&request_id).await),
            Published::Report { request_id } => {
                let answer = self.report(request_id.as_deref().unwrap_or_default(), &publish.payload).await;
                // Without a number for it no answer is expected.
                answers.extend(request_id.map(|_| answer));
            }
            Published::MethodResponse { status, request_id } => {
                self.link.method_answered(&request_id, MethodResponse { status, payload: publish.payload });
            }
            Published::Message { .. } | Published::Forbidden | Published::Unknown => {}
        }
    }

    async fn get_twin(&self, request_id: &str) -> Packet {
        match self.gateway.twin(&self.attachment.client).await {
            Ok(twin) => unacknowledged(topic::twin_answer(200, request_id, None), twin.to_string().into()),
            Err(refusal) => self.twin_refused(request_id, &refusal),
        }
    }

    async fn report(&self, request_id: &str, payload: &Bytes) -> Packet {
        let reported = match serde_json::from_slice::<Value>(payload) {
            Ok(patch) => self.gateway.report(&self.attachment.client, patch).await,
            Err(error) => Err(Refusal::Invalid(format!("the patch is not JSON: {error}"))),
        };
        match reported {
            Ok(version) => unacknowledged(topic::twin_answer(204, request_id, version), Bytes::new()),
            Err(refusal) => self.twin_refused(request_id, &refusal),
        }
    }

    fn twin_refused(&self, request_id: &str, refusal: &Refusal) -> Packet {
        let body = twin_body(refusal, &self.clock.now_text());
        unacknowledged(topic::twin_answer(twin_status(refusal), request_id, None), body.to_string().into())
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Packet, Refusal> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        for (filter, quality) in &subscribe.filters {
            match topic::feature_of(filter) {
                Some(feature) => self.gateway.subscribe(&self.attachment, feature).await?,
                None if filter == topic::TWIN_ANSWERS => {}
                None => tracing::info!(filter, "a subscription without effect"),
            }
            granted.push(Some((*quality).min(QualityOfService::AtLeastOnce)));
        }
        Ok(Packet::SubAck(SubAck { id: subscribe.id, granted }))
    }

    async fn unsubscribe(&self, unsubscribe: Unsubscribe) -> Result<Packet, Refusal> {
        for feature in unsubscribe.filters.iter().filter_map(|filter| topic::feature_of(filter)) {
            self.gateway.unsubscribe(&self.attachment, feature).await?;
        }
        Ok(Packet::UnsubAck(unsubscribe.id))
    }
}

/// Messages that came together, and what is acknowledged with them.
#[derive(Default)]
struct Messages {
    bodies: Vec<Message>,
    acknowledgements: Vec<PacketId>,
}

impl Messages {
    fn push(&mut self, message: Message, acknowledgement: Option<PacketId>) {
        self.bodies.push(message);
        self.acknowledge(acknowledgement);
    }

    fn acknowledge(&mut self, acknowledgement: Option<PacketId>) {
        self.acknowledgements.extend(acknowledgement);
    }
}

enum Sorted {
    Taken,
    Forbidden(&'static str),
    Other(Published, Publish),
}
