//! What clients send over an open connection: telemetry, tokens, requests about twins, and answers of methods.

use std::sync::Arc;

use edgectl_hub::gateway::{Feature, Refusal};
use edgectl_hub::message::{MAX_MESSAGE_BYTES, Message};
use edgectl_schemas::ids::Identity;
use edgectl_wire::amqp::condition::{DECODE, ErrorCondition, MESSAGE_SIZE};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::message::AnnotatedMessage;
use edgectl_wire::amqp::properties::MessageId;

use super::conversation::Conversation;
use super::link::Outbound;
use super::member::{Face, Outcome, Place, Receipt};
use super::receiving::Delivered;
use super::refusal::{condition, token_status};
use super::session::{Link, Stage};
use crate::amqp::address::Purpose;
use crate::amqp::cbs::{self, PutToken};
use crate::amqp::message::read_delivery;
use crate::amqp::method;
use crate::amqp::twin::{self, TwinOperation, TwinRequest};
use crate::frontend::twin_refusal::{twin_body, twin_status};

impl Conversation {
    /// A whole message came on a link.
    pub(super) fn delivered(&mut self, channel: u16, handle: u32, delivered: Delivered) {
        let Some(link) = self.sessions.get(&channel).and_then(|session| session.link(handle)) else { return };
        let place = Place { channel, handle, serial: link.serial };
        let receipt = Receipt { place, delivery: delivered.id, settled: delivered.settled };
        match link.purpose.clone() {
            Purpose::Events(identity) => self.event(&identity, receipt, delivered),
            Purpose::Service(name) => self.for_service(&name, receipt, delivered),
            purpose => match AnnotatedMessage::decode(delivered.bytes) {
                Ok(message) => {
                    self.settle(&[receipt], &DeliveryState::Accepted);
                    self.request(&purpose, place, message);
                }
                Err(error) => self.reject(receipt, ErrorCondition::new(DECODE, error.to_string())),
            },
        }
    }

    /// Telemetry: one message or a batch, acknowledged when the hub has it.
    fn event(&mut self, identity: &Identity, receipt: Receipt, delivered: Delivered) {
        let messages = match read_delivery(delivered.format, delivered.bytes) {
            Ok(messages) => messages,
            Err(error) => return self.reject(receipt, ErrorCondition::new(DECODE, error.to_string())),
        };
        // One that is too large is found here, so that it alone is refused, and not those with it.
        if let Some(size) = messages.iter().map(Message::size).find(|size| *size > MAX_MESSAGE_BYTES) {
            let description = format!("a message has {size} bytes, the most is {MAX_MESSAGE_BYTES}");
            return self.reject(receipt, ErrorCondition::new(MESSAGE_SIZE, description));
        }
        let Some(member) = self.members.get_mut(identity) else { return };
        for message in messages {
            member.messages.push(Some(message), None);
        }
        member.messages.push(None, Some(receipt));
    }

    /// A message for the hub's service.
    fn for_service(&mut self, name: &str, receipt: Receipt, delivered: Delivered) {
        let Some(desk) = self.desk.clone() else { return };
        let message = AnnotatedMessage::decode(delivered.bytes);
        let taken = message.map_err(|error| ErrorCondition::new(DECODE, error.to_string()));
        match taken.and_then(|message| desk.take(name, message)) {
            Ok(answer) => {
                self.settle(&[receipt], &DeliveryState::Accepted);
                if let Some(answer) = answer {
                    self.answer(receipt.place, &Purpose::Service(name.to_owned()), Outbound::settled(&answer));
                }
                self.finished(receipt.place);
            }
            Err(error) => self.reject(receipt, error),
        }
    }

    fn reject(&mut self, receipt: Receipt, error: ErrorCondition) {
        self.settle(&[receipt], &DeliveryState::Rejected(Some(error)));
        self.finished(receipt.place);
    }

    /// A request of any kind.
    fn request(&mut self, purpose: &Purpose, place: Place, message: AnnotatedMessage) {
        match purpose {
            Purpose::Tokens => self.put_token(place, message),
            Purpose::TwinRequests(identity) => self.twin_request(identity, place, message),
            Purpose::MethodAnswers(identity) => {
                let link = self.members.get(identity).and_then(|member| member.face.link());
                if let (Some(link), Some((number, response))) = (link, method::read_answer(message)) {
                    link.method_answered(&number, response);
                }
                self.finished(place);
            }
            // Clients send nothing on these.
            Purpose::Events(_)
            | Purpose::Inputs(_)
            | Purpose::CloudToDevice(_)
            | Purpose::MethodCalls(_)
            | Purpose::TwinAnswers(_)
            | Purpose::Service(_) => {}
        }
    }

    fn put_token(&mut self, place: Place, message: AnnotatedMessage) {
        let request = message.properties.message_id.clone();
        let put = PutToken::read(message).map_err(|error| Refusal::Invalid(error.to_string()));
        if let (Ok(put), Some(desk)) = (&put, self.desk.clone())
            && put.identity().is_none()
        {
            let result = desk.authorize(&put.token).map(|until| self.service_proved(until));
            return self.token_put(place, request, result);
        }
        let found = put.and_then(|put| match put.identity() {
            Some(identity) => Ok((identity, put.token)),
            None => Err(Refusal::Unauthorized(format!("{} is no client of the hub", put.audience))),
        });
        let pushed = found.and_then(|(identity, token)| {
            let request = request.clone();
            let member = self.member(&identity)?;
            let face = Arc::clone(&member.face);
            member.requests.push(async move { Outcome::Token { place, request, result: face.put_token(token).await } });
            Ok(())
        });
        if let Err(refusal) = pushed {
            self.token_put(place, request, Err(refusal));
        }
    }

    pub(super) fn token_put(&mut self, place: Place, request: Option<MessageId>, result: Result<(), Refusal>) {
        let answer = match &result {
            Ok(()) => Some(cbs::answer(request, 200, "OK")),
            Err(refusal) => {
                tracing::warn!(%refusal, "a token was refused");
                token_status(refusal).map(|status| cbs::answer(request, status, &refusal.to_string()))
            }
        };
        match (answer, result) {
            (Some(answer), _) => self.answer(place, &Purpose::Tokens, Outbound::settled(&answer)),
            (None, Err(refusal)) if self.is_there(place) => {
                self.end_link(place.channel, place.handle, condition(&refusal));
            }
            (None, _) => {}
        }
        self.finished(place);
    }

    fn twin_request(&mut self, identity: &Identity, place: Place, message: AnnotatedMessage) {
        let TwinRequest { operation, correlation } = TwinRequest::read(message);
        let Some(member) = self.members.get_mut(identity) else { return };
        let (face, clock) = (Arc::clone(&member.face), Arc::clone(&self.clock));
        member.requests.push(async move {
            let answered = match operation {
                TwinOperation::Get => face.twin().await.map(|twin| (200, None, twin.to_string())),
                TwinOperation::Report(patch) => report(&face, &patch).await,
                TwinOperation::Subscribe => {
                    face.subscribe(Feature::DesiredProperties).await.map(|()| (200, None, String::new()))
                }
                TwinOperation::Unsubscribe => {
                    face.unsubscribe(Feature::DesiredProperties).await.map(|()| (200, None, String::new()))
                }
                TwinOperation::Unknown(why) => Err(Refusal::Invalid(why.to_owned())),
            };
            let answer = match answered {
                Ok((status, version, body)) => twin::answer(correlation, status, version, body),
                Err(refusal) => {
                    let body = twin_body(&refusal, &clock.now_text()).to_string();
                    twin::answer(correlation, twin_status(&refusal), None, body)
                }
            };
            Outcome::Twin { place, answer: Outbound::settled(&answer) }
        });
    }

    /// Sends an answer to a request that came on a link, on the link that is the other of its pair.
    fn answer(&mut self, place: Place, purpose: &Purpose, answer: Outbound) {
        let asked = self.sessions.get(&place.channel).and_then(|session| session.link(place.handle));
        let pair = asked.and_then(|link| link.pair.clone());
        let fits = |link: &Link| link.purpose == *purpose && matches!(link.stage, Stage::Sending(_));
        let mut found: Option<(u16, u32, bool)> = None;
        for (channel, session) in &self.sessions {
            for (handle, link) in session.links().filter(|(_, link)| fits(link)) {
                let is_pair = link.pair == pair && *channel == place.channel;
                if found.is_none_or(|(_, _, was_pair)| is_pair && !was_pair) {
                    found = Some((*channel, handle, is_pair));
                }
            }
        }
        let Some((channel, handle, _)) = found else {
            return tracing::debug!(?purpose, "an answer has no link to go on");
        };
        let answered = self.sessions.get_mut(&channel).map_or(Ok(()), |session| session.answer(handle, answer));
        if let Err(error) = answered {
            self.end_link(channel, handle, error);
        }
    }

    pub(super) fn twin_answered(&mut self, place: Place, answer: Outbound) {
        let asked = self.sessions.get(&place.channel).and_then(|session| session.link(place.handle));
        if let Some(Purpose::TwinRequests(identity)) = asked.map(|link| link.purpose.clone()) {
            self.answer(place, &Purpose::TwinAnswers(identity), answer);
        }
        self.finished(place);
    }
}

/// Status, version and body of the answer to reported properties.
async fn report(face: &Face, patch: &[u8]) -> Result<(u16, Option<u64>, String), Refusal> {
    let patch =
        serde_json::from_slice(patch).map_err(|error| Refusal::Invalid(format!("the patch is not JSON: {error}")))?;
    let version = face.report(patch).await?;
    Ok((204, version, String::new()))
}
