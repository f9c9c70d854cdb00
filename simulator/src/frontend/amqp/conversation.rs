//! What the frames of an open connection mean to the hub. Nothing here reads or writes: performatives come in, what they
//! ask for goes into the lanes of the connection's clients, and what comes out of those goes back as frames.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use edgectl_hub::clock::Clock;
use edgectl_hub::gateway::{Client, CloseReason, Feature, Gateway, Refusal};
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::CLOCK_SKEW_SECONDS;
use edgectl_wire::amqp::attach::{Attach, Detach, Role};
use edgectl_wire::amqp::condition::{
    ErrorCondition, HANDLE_IN_USE, NOT_ALLOWED, NOT_FOUND, RESOURCE_LIMIT, UNAUTHORIZED,
};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::frame::Frame;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::session::{Begin, End};
use edgectl_wire::amqp::value::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::desk::{Desk, Ended, LinkEnd};
use super::link::{Closings, Line};
use super::member::{Face, Member, Outcome, Place, Receipt};
use super::refusal::{closing, condition};
use super::sending::Sending;
use super::session::{HANDLE_MAX, Link, Session, Stage, Violation};
use crate::amqp::address::{HubEnd, Purpose};
use crate::listen::Certificate;

/// The highest channel that is taken.
pub const CHANNEL_MAX: u16 = 1023;
/// Links of a connection.
const MAX_LINKS: usize = 4096;
/// Clients of a connection.
const MAX_MEMBERS: usize = 1024;
/// Names the pair of links of which one is for requests and one for answers.
const PAIR: &str = "com.microsoft:channel-correlation-id";

/// An open connection.
pub struct Conversation {
    gateway: Arc<dyn Gateway>,
    pub(super) clock: Arc<dyn Clock>,
    certificate: Certificate,
    closings: Arc<Closings>,
    max_payload: usize,
    pub(super) sessions: BTreeMap<u16, Session>,
    pub(super) members: BTreeMap<Identity, Member>,
    last_serial: u64,
    pub(super) out: Vec<Frame>,
    pub(super) desk: Option<Arc<dyn Desk>>,
    /// Until when a service may use the connection; none while it has not proved that it may.
    service_until: Option<u64>,
    /// Links that the service ends.
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

/// What came of everything that the lanes had done.
#[derive(Default)]
struct Progress {
    outcomes: Vec<Outcome>,
    batches: Vec<(Vec<Receipt>, Result<(), Refusal>)>,
}

impl Conversation {
    /// A connection without sessions. Messages go out in parts of at most so many bytes.
    pub fn new(
        gateway: Arc<dyn Gateway>,
        desk: Option<Arc<dyn Desk>>,
        clock: Arc<dyn Clock>,
        certificate: Certificate,
        max_payload: usize,
    ) -> Self {
        Self {
            desk,
            service_until: None,
            ended: mpsc::unbounded_channel(),
            gateway,
            clock,
            certificate,
            closings: Arc::default(),
            max_payload,
            sessions: BTreeMap::new(),
            members: BTreeMap::new(),
            last_serial: 0,
            out: Vec::new(),
        }
    }

    /// Takes a client that proved in the security layer who it is.
    pub fn proved(&mut self, client: Client) {
        if let Ok(member) = self.member(&client.identity.clone()) {
            member.face.proved(client);
        }
    }

    /// A service proved that it may use the connection until then, in seconds since the Unix epoch.
    pub fn service_proved(&mut self, until: u64) {
        self.service_until = Some(until);
    }

    /// The frames to be written.
    pub fn take_frames(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.out)
    }

    /// Whether more may be taken; else the client has to wait for what it asked before.
    pub fn has_room(&self) -> bool {
        self.members.values().all(Member::has_room)
    }

    /// Whether the hub has done all that was asked.
    pub fn is_idle(&self) -> bool {
        self.members.values().all(Member::is_idle)
    }

    /// What tells of clients that the hub has closed.
    pub fn closings(&self) -> Arc<Closings> {
        Arc::clone(&self.closings)
    }

    /// When the next proof is over.
    pub fn next_expiry(&self) -> Option<Instant> {
        let service = self.service_expiry();
        self.members.values().filter_map(|member| member.face.expiry()).chain(service).min()
    }

    /// When the token of a service is over.
    fn service_expiry(&self) -> Option<Instant> {
        self.service_until.and_then(|until| self.clock.instant_of(until.saturating_add(CLOCK_SKEW_SECONDS)))
    }

    /// Ends the links of clients whose proof is over.
    pub fn expire(&mut self) {
        let now = self.clock.now();
        let is_over = |member: &Member| member.face.expiry().is_some_and(|at| at <= now);
        let over: Vec<Identity> =
            self.members.iter().filter(|(_, member)| is_over(member)).map(|(identity, _)| identity.clone()).collect();
        let expired = ErrorCondition::new(UNAUTHORIZED, "the token expired");
        for identity in over {
            self.dismiss(&identity, &expired);
        }
        if self.service_expiry().is_some_and(|at| at <= now) {
            self.service_until = None;
            for session in self.sessions.values_mut() {
                let its_own = |link: &Link| matches!(link.purpose, Purpose::Service(_)) && link.is_live();
                let handles: Vec<u32> = session.links().filter(|(_, link)| its_own(link)).map(|(h, _)| h).collect();
                for handle in handles {
                    session.end_link(handle, expired.clone(), &mut self.out);
                }
            }
        }
    }

    /// Ends the links of clients that the hub has closed.
    pub fn close_members(&mut self) {
        let closed: Vec<(Identity, CloseReason)> = self.closings.take();
        for (identity, reason) in closed {
            let link = self.members.get(&identity).and_then(|member| member.face.link());
            // It may be attached anew already.
            if link.is_some_and(|link| link.is_closed()) {
                self.dismiss(&identity, &closing(reason));
            }
        }
    }

    /// Ends all links of a client, which has to prove anew who it is.
    fn dismiss(&mut self, identity: &Identity, error: &ErrorCondition) {
        for session in self.sessions.values_mut() {
            let its_own =
                |link: &Link| link.purpose.identity() == Some(identity) && !matches!(link.stage, Stage::Ended);
            let handles: Vec<u32> = session.links().filter(|(_, link)| its_own(link)).map(|(h, _)| h).collect();
            for handle in handles {
                session.end_link(handle, error.clone(), &mut self.out);
            }
        }
        if let Some(member) = self.members.get_mut(identity) {
            member.links = 0;
            member.face.forget();
            let face = Arc::clone(&member.face);
            member.requests.push(async move {
                face.detach().await;
                Outcome::Nothing
            });
        }
    }

    /// Tells the hub that the connection is over.
    pub async fn end(self) {
        for member in self.members.into_values() {
            member.face.detach().await;
        }
    }

    /// Takes a performative. The error ends the connection after all that was asked before.
    pub fn received(&mut self, channel: u16, performative: Performative, payload: Bytes) -> Result<(), ErrorCondition> {
        match performative {
            Performative::Begin(begin) => return self.begin(channel, &begin),
            Performative::Attach(attach) => return self.attach(channel, attach),
            Performative::Detach(detach) => return self.detach(channel, &detach),
            Performative::End(_) => return self.end_session(channel),
            Performative::Open(_) | Performative::Close(_) => {
                return Err(ErrorCondition::new(NOT_ALLOWED, "the connection is open"));
            }
            Performative::Flow(_) | Performative::Transfer(_) | Performative::Disposition(_) => {}
        }
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        match performative {
            Performative::Flow(flow) => session.flow(&flow, &mut self.out),
            Performative::Disposition(disposition) => {
                session.disposition(&disposition, &mut self.out);
                Ok(())
            }
            Performative::Transfer(transfer) => match session.transfer(&transfer, payload, &mut self.out) {
                Ok(Some(delivered)) => {
                    self.delivered(channel, transfer.handle, delivered);
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(Violation::OfLink(error)) => {
                    self.end_link(channel, transfer.handle, error);
                    Ok(())
                }
                Err(Violation::OfConnection(error)) => Err(error),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, channel: u16, begin: &Begin) -> Result<(), ErrorCondition> {
        if channel > CHANNEL_MAX || self.sessions.contains_key(&channel) {
            return Err(ErrorCondition::new(NOT_ALLOWED, format!("the channel {channel} is not free")));
        }
        let (session, answer) = Session::begun(channel, begin, self.max_payload);
        self.sessions.insert(channel, session);
        self.out.push(answer);
        Ok(())
    }

    fn end_session(&mut self, channel: u16) -> Result<(), ErrorCondition> {
        let session = self.sessions.remove(&channel).ok_or_else(no_session)?;
        for (_, link) in session.links().filter(|(_, link)| link.is_live()) {
            self.leave(&link.purpose);
        }
        self.out.push(Frame::of(channel, Performative::End(End::default())));
        Ok(())
    }

    fn attach(&mut self, channel: u16, attach: Box<Attach>) -> Result<(), ErrorCondition> {
        let links: usize = self.sessions.values().map(Session::link_count).sum();
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        let handle = attach.handle;
        if handle > HANDLE_MAX || session.link(handle).is_some() {
            return Err(ErrorCondition::new(HANDLE_IN_USE, format!("the handle {handle} is not free")));
        }
        if links >= MAX_LINKS {
            return Err(ErrorCondition::new(RESOURCE_LIMIT, "there are too many links"));
        }
        self.last_serial += 1;
        let place = Place { channel, handle, serial: self.last_serial };
        let pair = attach.properties.get(PAIR).and_then(Value::as_text).map(str::to_owned);
        let purpose = match purpose(&attach, self.desk.as_deref()) {
            Ok(purpose) => purpose,
            Err(error) => {
                // The client has to say that it knows of the end, so the handle is not free before.
                let link = Link { serial: place.serial, purpose: Purpose::Tokens, pair, stage: Stage::Ended };
                session.insert(handle, link);
                session.refuse(&attach, &Purpose::Tokens, error, &mut self.out);
                return Ok(());
            }
        };
        let stage = Stage::Asked(attach);
        session.insert(handle, Link { serial: place.serial, purpose: purpose.clone(), pair, stage });
        match purpose.identity() {
            None => self.attached(place, self.service_may(&purpose)),
            Some(identity) => self.ask_to_attach(place, &purpose, identity),
        }
        Ok(())
    }

    /// Whether the connection may have a link that is no client's.
    fn service_may(&self, purpose: &Purpose) -> Result<(), Refusal> {
        match purpose {
            Purpose::Service(_) if self.service_until.is_none() => {
                Err(Refusal::Unauthorized("no policy's token was put that allows it".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn ask_to_attach(&mut self, place: Place, purpose: &Purpose, identity: &Identity) {
        let feature = feature(purpose);
        match self.member(identity) {
            Ok(member) => {
                member.links += 1;
                let face = Arc::clone(&member.face);
                member.requests.push(async move { Outcome::Attached { place, result: face.attach(feature).await } });
            }
            Err(refusal) => self.attached(place, Err(refusal)),
        }
    }

    /// The hub said whether a link may begin.
    fn attached(&mut self, place: Place, result: Result<(), Refusal>) {
        let Some(session) = self.sessions.get_mut(&place.channel) else { return };
        let Some(link) = session.link(place.handle).filter(|link| link.serial == place.serial) else { return };
        let Stage::Asked(attach) = &link.stage else { return };
        let (attach, purpose) = (attach.clone(), link.purpose.clone());
        let face = purpose.identity().and_then(|identity| self.members.get(identity)).map(|member| &member.face);
        if let (Ok(()), Purpose::Service(name), Role::Receiver) = (&result, &purpose, attach.role) {
            return self.open_service(place, name, &attach);
        }
        match result {
            Ok(()) => {
                let sending = (attach.role == Role::Receiver).then(|| {
                    let line = line(&purpose).and_then(|line| Some(face?.link()?.open(line)));
                    Sending::new(line, attach.max_message_size)
                });
                session.accept(place.handle, &attach, sending, &mut self.out);
            }
            Err(refusal) => {
                let client = purpose.identity().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(client, %refusal, "a link was refused");
                self.end_link(place.channel, place.handle, condition(&refusal));
            }
        }
    }

    /// Opens a link on which a service receives.
    fn open_service(&mut self, place: Place, name: &str, attach: &Attach) {
        let Some(desk) = self.desk.clone() else { return };
        match desk.open(name, attach, LinkEnd { place, ended: self.ended.0.clone() }) {
            Ok(line) => {
                let sending = Sending::new(line, attach.max_message_size);
                if let Some(session) = self.sessions.get_mut(&place.channel) {
                    session.accept(place.handle, attach, Some(sending), &mut self.out);
                }
            }
            Err(error) => self.end_link(place.channel, place.handle, error),
        }
    }

    fn detach(&mut self, channel: u16, detach: &Detach) -> Result<(), ErrorCondition> {
        let session = self.sessions.get_mut(&channel).ok_or_else(no_session)?;
        if let Some(link) = session.detached(detach, &mut self.out) {
            self.leave(&link.purpose);
        }
        Ok(())
    }

    /// Ends a link for a reason.
    pub(super) fn end_link(&mut self, channel: u16, handle: u32, error: ErrorCondition) {
        let session = self.sessions.get_mut(&channel);
        if let Some(purpose) = session.and_then(|session| session.end_link(handle, error, &mut self.out)) {
            self.leave(&purpose);
        }
    }

    /// A link is over: what it was for ends, and with the last link of a client its place at the hub.
    fn leave(&mut self, purpose: &Purpose) {
        let mut links = self.sessions.values().flat_map(Session::links);
        let goes_on = links.any(|(_, link)| link.purpose == *purpose && link.is_live());
        let Some(member) = purpose.identity().and_then(|identity| self.members.get_mut(identity)) else { return };
        member.links = member.links.saturating_sub(1);
        let (face, is_last) = (Arc::clone(&member.face), member.links == 0);
        let feature = ended_feature(purpose).filter(|_| !goes_on);
        member.requests.push(async move {
            if is_last {
                face.detach().await;
            } else if let Some(feature) = feature
                && let Err(refusal) = face.unsubscribe(feature).await
            {
                tracing::debug!(%refusal, "a feature could not be ended");
            }
            Outcome::Nothing
        });
    }

    /// A client of the connection, which may be new here.
    pub(super) fn member(&mut self, identity: &Identity) -> Result<&mut Member, Refusal> {
        if !self.members.contains_key(identity) && self.members.len() >= MAX_MEMBERS {
            return Err(Refusal::Unavailable("there are too many clients on the connection".to_owned()));
        }
        let (gateway, certificate, closings) = (&self.gateway, &self.certificate, &self.closings);
        let clock = &self.clock;
        Ok(self.members.entry(identity.clone()).or_insert_with(|| {
            let (gateway, certificate) = (Arc::clone(gateway), certificate.clone());
            Member::new(Face::new(identity.clone(), gateway, certificate, Arc::clone(closings), Arc::clone(clock)))
        }))
    }

    /// A request is done, or a message that was not for the hub.
    pub(super) fn finished(&mut self, place: Place) {
        self.finish(place, 1);
    }

    fn finish(&mut self, place: Place, count: u32) {
        if self.is_there(place)
            && let Some(session) = self.sessions.get_mut(&place.channel)
        {
            session.done(place.handle, count, &mut self.out);
        }
    }

    /// Whether the link is still the one that it was.
    pub(super) fn is_there(&self, place: Place) -> bool {
        let link = self.sessions.get(&place.channel).and_then(|session| session.link(place.handle));
        link.is_some_and(|link| link.serial == place.serial)
    }

    /// Tells what became of deliveries of one link.
    pub(super) fn settle(&mut self, receipts: &[Receipt], state: &DeliveryState) {
        let Some(first) = receipts.first() else { return };
        let deliveries: Vec<u32> =
            receipts.iter().filter(|receipt| !receipt.settled).map(|receipt| receipt.delivery).collect();
        if let Some(session) = self.sessions.get_mut(&first.place.channel) {
            session.settle(&deliveries, state, &mut self.out);
        }
    }

    /// Waits until the hub has done something, or there is something to be sent. May be dropped and called again.
    pub async fn progress(&mut self) {
        std::future::poll_fn(|context| self.poll_progress(context)).await;
    }

    fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut progress = Progress::default();
        for member in self.members.values_mut() {
            while let Poll::Ready(outcome) = pin!(member.requests.done()).poll(context) {
                progress.outcomes.push(outcome);
            }
            while let Poll::Ready(batch) = pin!(member.messages.done()).poll(context) {
                progress.batches.push(batch);
            }
        }
        let mut any = !(progress.outcomes.is_empty() && progress.batches.is_empty());
        self.progressed(progress);
        while let Poll::Ready(Some((place, error))) = self.ended.1.poll_recv(context) {
            any = true;
            if self.is_there(place) {
                self.end_link(place.channel, place.handle, error);
            }
        }
        for session in self.sessions.values_mut() {
            any |= session.poll_send(context, &mut self.out);
        }
        if any { Poll::Ready(()) } else { Poll::Pending }
    }

    fn progressed(&mut self, progress: Progress) {
        for (receipts, taken) in progress.batches {
            let state = match taken {
                Ok(()) => DeliveryState::Accepted,
                Err(refusal) => {
                    tracing::warn!(%refusal, "messages were refused");
                    DeliveryState::Rejected(Some(condition(&refusal)))
                }
            };
            for of_one_link in receipts.chunk_by(|one, next| one.place == next.place) {
                self.settle(of_one_link, &state);
                self.finish(of_one_link[0].place, of_one_link.len() as u32);
            }
        }
        for outcome in progress.outcomes {
            match outcome {
                Outcome::Token { place, request, result } => self.token_put(place, request, result),
                Outcome::Attached { place, result } => self.attached(place, result),
                Outcome::Twin { place, answer } => self.twin_answered(place, answer),
                Outcome::Nothing => {}
            }
        }
    }
}

fn purpose(attach: &Attach, desk: Option<&dyn Desk>) -> Result<Purpose, ErrorCondition> {
    let (terminus, hub) = match attach.role {
        Role::Sender => (attach.target.as_ref().map(|target| &target.terminus), HubEnd::Receives),
        Role::Receiver => (attach.source.as_ref().map(|source| &source.terminus), HubEnd::Sends),
    };
    let address = terminus.and_then(|terminus| terminus.address.as_deref()).unwrap_or_default();
    Purpose::parse(address, hub).or_else(|error| match desk.and_then(|desk| desk.name(address, hub)) {
        Some(name) => Ok(Purpose::Service(name)),
        None => Err(ErrorCondition::new(NOT_FOUND, error.to_string())),
    })
}

/// What a link switches on.
fn feature(purpose: &Purpose) -> Option<Feature> {
    match purpose {
        Purpose::Inputs(_) => Some(Feature::Inputs),
        Purpose::CloudToDevice(_) => Some(Feature::CloudToDevice),
        Purpose::MethodCalls(_) => Some(Feature::Methods),
        // A request switches desired properties on.
        Purpose::TwinAnswers(_)
        | Purpose::Tokens
        | Purpose::Events(_)
        | Purpose::MethodAnswers(_)
        | Purpose::TwinRequests(_)
        | Purpose::Service(_) => None,
    }
}

/// What ends with a link.
fn ended_feature(purpose: &Purpose) -> Option<Feature> {
    match purpose {
        Purpose::TwinAnswers(_) => Some(Feature::DesiredProperties),
        other => feature(other),
    }
}

/// Where what the hub sends on a link comes from.
fn line(purpose: &Purpose) -> Option<Line> {
    match purpose {
        Purpose::Inputs(_) => Some(Line::Inputs),
        Purpose::CloudToDevice(_) => Some(Line::CloudToDevice),
        Purpose::MethodCalls(_) => Some(Line::Methods),
        Purpose::TwinAnswers(_) => Some(Line::Twin),
        Purpose::Tokens
        | Purpose::Events(_)
        | Purpose::MethodAnswers(_)
        | Purpose::TwinRequests(_)
        | Purpose::Service(_) => None,
    }
}

fn no_session() -> ErrorCondition {
    ErrorCondition::new(NOT_ALLOWED, "the channel has no session")
}
