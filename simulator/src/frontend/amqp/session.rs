//! One session of a connection: its windows, its links, and the deliveries that a client has not settled. Nothing here
//! reads or writes: performatives come in, frames go out.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::task::{Context, Poll};

use bytes::Bytes;
use edgectl_hub::gateway::Settlement;
use edgectl_hub::message::MAX_MESSAGE_BYTES;
use edgectl_hub::receipt::Receipt;
use edgectl_wire::amqp::attach::{Attach, Detach, ReceiverSettleMode, Role, SenderSettleMode};
use edgectl_wire::amqp::condition::{ErrorCondition, NOT_ALLOWED, RESOURCE_LIMIT, UNATTACHED_HANDLE, WINDOW};
use edgectl_wire::amqp::delivery_state::DeliveryState;
use edgectl_wire::amqp::frame::Frame;
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::session::{Begin, Flow};
use edgectl_wire::amqp::transfer::{Disposition, Transfer};

use super::link::Outbound;
use super::receiving::{Delivered, Receiving};
use super::sending::Sending;
use crate::amqp::address::Purpose;

/// The highest handle that is taken.
pub const HANDLE_MAX: u32 = 1023;
/// Transfers that a client may send before it is told that it may send more.
const INCOMING_WINDOW: u32 = 2048;
/// The hub sends as much as the client's window takes.
const OUTGOING_WINDOW: u32 = i32::MAX as u32;
/// Frames that are made at once.
const ROUND: usize = 64;

/// A session.
pub struct Session {
    channel: u16,
    max_payload: usize,
    next_incoming_id: u32,
    incoming_window: u32,
    next_outgoing_id: u32,
    remote_window: u32,
    next_delivery_id: u32,
    links: BTreeMap<u32, Link>,
    /// The link that sent last: the one behind it is next.
    last_sender: u32,
    unsettled: BTreeMap<u32, Unsettled>,
    unfinished: Option<Unfinished>,
}

/// A link of a session.
pub struct Link {
    /// Tells links apart that had the same handle.
    pub serial: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// What a client calls the pair that this link is one of.
    pub pair: Option<String>,
    /// How far it is.
    pub stage: Stage,
}

impl Link {
    /// Whether it has not ended.
    pub fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Ended)
    }
}

/// How far a link is.
pub enum Stage {
    /// The hub has not said yet whether it may begin.
    Asked(Box<Attach>),
    /// The client sends.
    Receiving(Receiving),
    /// The client receives.
    Sending(Sending),
    /// The hub has ended it, and the client has not said that it knows.
    Ended,
}

/// A client broke a rule.
#[derive(Debug)]
pub enum Violation {
    /// On a link, which ends.
    OfLink(ErrorCondition),
    /// In the session or the connection, which ends.
    OfConnection(ErrorCondition),
}

struct Unsettled {
    handle: u32,
    receipt: Receipt,
}

/// A message of which the client's window did not take all.
struct Unfinished {
    handle: u32,
    delivery: u32,
    tag: Bytes,
    settled: bool,
    rest: Bytes,
}

impl Session {
    /// A session that a client began; the frame is the answer. Messages go out in parts of at most so many bytes.
    pub fn begun(channel: u16, begin: &Begin, max_payload: usize) -> (Self, Frame) {
        let session = Self {
            channel,
            max_payload,
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: INCOMING_WINDOW,
            next_outgoing_id: 0,
            remote_window: begin.incoming_window,
            next_delivery_id: 0,
            links: BTreeMap::new(),
            last_sender: 0,
            unsettled: BTreeMap::new(),
            unfinished: None,
        };
        let answer = Begin {
            remote_channel: Some(channel),
            next_outgoing_id: 0,
            incoming_window: INCOMING_WINDOW,
            outgoing_window: OUTGOING_WINDOW,
            handle_max: Some(HANDLE_MAX),
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: edgectl_wire::amqp::value::Map::new(),
        };
        (session, Frame::of(channel, Performative::Begin(Box::new(answer))))
    }

    /// The links by their handles.
    pub fn links(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.links.iter().map(|(handle, link)| (*handle, link))
    }

    /// How many links there are.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// A link that is there or that the client has not forgotten yet.
    pub fn link(&self, handle: u32) -> Option<&Link> {
        self.links.get(&handle)
    }

    /// Adds a link.
    pub fn insert(&mut self, handle: u32, link: Link) {
        self.links.insert(handle, link);
    }

    /// Lets a link begin. The line is where its messages come from, if the client receives on it.
    pub fn accept(&mut self, handle: u32, attach: &Attach, sending: Option<Sending>, out: &mut Vec<Frame>) {
        let Some(link) = self.links.get_mut(&handle) else { return };
        let mut answer = answer(attach, &link.purpose);
        answer.source.clone_from(&attach.source);
        answer.target.clone_from(&attach.target);
        out.push(self.frame(Performative::Attach(Box::new(answer))));
        let Some(link) = self.links.get_mut(&handle) else { return };
        link.stage = match sending {
            Some(sending) => Stage::Sending(sending),
            None => {
                let first = attach.initial_delivery_count.unwrap_or_default();
                Stage::Receiving(Receiving::new(first, max_message_bytes(&link.purpose)))
            }
        };
        self.replenish(handle, out);
    }

    /// Refuses a link: it begins without its end at the hub, and is over (2.6.3).
    pub fn refuse(&mut self, attach: &Attach, purpose: &Purpose, error: ErrorCondition, out: &mut Vec<Frame>) {
        let mut answer = answer(attach, purpose);
        match attach.role {
            Role::Sender => answer.source.clone_from(&attach.source),
            Role::Receiver => answer.target.clone_from(&attach.target),
        }
        out.push(self.frame(Performative::Attach(Box::new(answer))));
        self.end(attach.handle, error, out);
    }

    /// Ends a link for a reason. One that has not begun is refused. Returns what it was for, unless it was over already.
    pub fn end_link(&mut self, handle: u32, error: ErrorCondition, out: &mut Vec<Frame>) -> Option<Purpose> {
        let link = self.links.get_mut(&handle)?;
        let purpose = link.purpose.clone();
        match std::mem::replace(&mut link.stage, Stage::Ended) {
            Stage::Ended => return None,
            Stage::Asked(attach) => self.refuse(&attach, &purpose, error, out),
            Stage::Receiving(_) | Stage::Sending(_) => self.end(handle, error, out),
        }
        Some(purpose)
    }

    fn end(&mut self, handle: u32, error: ErrorCondition, out: &mut Vec<Frame>) {
        let detach = Detach { handle, closed: true, error: Some(error) };
        out.push(self.frame(Performative::Detach(detach)));
        if let Some(link) = self.links.get_mut(&handle) {
            link.stage = Stage::Ended;
        }
        self.forget_deliveries(handle);
    }

    /// The client ended a link. Returns the link, unless the hub had ended it before.
    pub fn detached(&mut self, detach: &Detach, out: &mut Vec<Frame>) -> Option<Link> {
        let link = self.links.remove(&detach.handle)?;
        self.forget_deliveries(detach.handle);
        if matches!(link.stage, Stage::Ended) {
            return None;
        }
        let answer = Detach { handle: detach.handle, closed: detach.closed, error: None };
        out.push(self.frame(Performative::Detach(answer)));
        Some(link)
    }

    /// Those who wait for what becomes of a delivery are told that the link is closed.
    fn forget_deliveries(&mut self, handle: u32) {
        self.unsettled.retain(|_, unsettled| unsettled.handle != handle);
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.handle == handle) {
            self.unfinished = None;
        }
    }

    /// Takes FLOW.
    pub fn flow(&mut self, flow: &Flow, out: &mut Vec<Frame>) -> Result<(), ErrorCondition> {
        self.next_incoming_id = flow.next_outgoing_id;
        // What the client has not seen yet takes up its window (2.5.6).
        let on_the_way = self.next_outgoing_id.wrapping_sub(flow.next_incoming_id.unwrap_or_default());
        self.remote_window = flow.incoming_window.saturating_sub(on_the_way);
        let Some(handle) = flow.handle else {
            if flow.echo {
                out.push(self.flow_frame(None, (None, None), false));
            }
            return Ok(());
        };
        let link = self.links.get_mut(&handle).ok_or_else(|| unattached(handle))?;
        match &mut link.stage {
            Stage::Sending(sending) => {
                sending.credited(flow.delivery_count, flow.link_credit.unwrap_or_default(), flow.drain);
            }
            Stage::Receiving(receiving) => {
                if let Some(count) = flow.delivery_count {
                    receiving.counted(count);
                }
            }
            Stage::Asked(_) | Stage::Ended => return Ok(()),
        }
        if flow.echo {
            self.echo(handle, out);
        }
        Ok(())
    }

    fn echo(&mut self, handle: u32, out: &mut Vec<Frame>) {
        let (count, credit, drain) = match self.links.get(&handle).map(|link| &link.stage) {
            Some(Stage::Sending(sending)) => sending.window(),
            Some(Stage::Receiving(receiving)) => {
                let (count, credit) = receiving.window();
                (count, credit, false)
            }
            _ => return,
        };
        out.push(self.flow_frame(Some(handle), (Some(count), Some(credit)), drain));
    }

    /// Takes TRANSFER, and returns the message with its last part.
    pub fn transfer(
        &mut self,
        transfer: &Transfer,
        payload: Bytes,
        out: &mut Vec<Frame>,
    ) -> Result<Option<Delivered>, Violation> {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let window = self.incoming_window.checked_sub(1);
        let used_up = || Violation::OfConnection(ErrorCondition::new(WINDOW, "the window is used up"));
        self.incoming_window = window.ok_or_else(used_up)?;
        if self.incoming_window < INCOMING_WINDOW / 2 {
            out.push(self.flow_frame(None, (None, None), false));
        }
        let link = self.links.get_mut(&transfer.handle);
        match &mut link.ok_or_else(|| Violation::OfConnection(unattached(transfer.handle)))?.stage {
            Stage::Receiving(receiving) => receiving.take(transfer, payload).map_err(Violation::OfLink),
            // It was on its way when the link ended.
            Stage::Ended => Ok(None),
            Stage::Asked(_) | Stage::Sending(_) => {
                let description = "the link is not one to send messages on now";
                Err(Violation::OfConnection(ErrorCondition::new(NOT_ALLOWED, description)))
            }
        }
    }

    /// Tells the client what became of deliveries, which are forgotten with it.
    pub fn settle(&mut self, deliveries: &[u32], state: &DeliveryState, out: &mut Vec<Frame>) {
        for run in deliveries.chunk_by(|one, next| one.wrapping_add(1) == *next) {
            let disposition = Disposition {
                role: Role::Receiver,
                first: run[0],
                last: Some(run[run.len() - 1]),
                settled: true,
                state: Some(state.clone()),
                batchable: false,
            };
            out.push(self.frame(Performative::Disposition(disposition)));
        }
    }

    /// The hub is done with some deliveries of a link.
    pub fn done(&mut self, handle: u32, count: u32, out: &mut Vec<Frame>) {
        if let Some(Stage::Receiving(receiving)) = self.links.get_mut(&handle).map(|link| &mut link.stage) {
            receiving.done(count);
        }
        self.replenish(handle, out);
    }

    fn replenish(&mut self, handle: u32, out: &mut Vec<Frame>) {
        let Some(Stage::Receiving(receiving)) = self.links.get_mut(&handle).map(|link| &mut link.stage) else {
            return;
        };
        if let Some((count, credit)) = receiving.replenish() {
            out.push(self.flow_frame(Some(handle), (Some(count), Some(credit)), false));
        }
    }

    /// Takes DISPOSITION: what the client did with deliveries.
    pub fn disposition(&mut self, disposition: &Disposition, out: &mut Vec<Frame>) {
        let Some(settlement) = settlement(disposition) else { return };
        let (first, last) = (disposition.first, disposition.last.unwrap_or(disposition.first));
        let ids: Vec<u32> = self.unsettled.keys().copied().filter(|id| is_between(first, *id, last)).collect();
        for unsettled in ids.iter().filter_map(|id| self.unsettled.remove(id)) {
            unsettled.receipt.settle(settlement);
        }
        if !disposition.settled {
            // A client that settles second waits for the hub to have settled.
            let answer = Disposition { role: Role::Sender, settled: true, ..disposition.clone() };
            out.push(self.frame(Performative::Disposition(answer)));
        }
    }

    /// Sends an answer on a link on which the client receives. The error ends the link.
    pub fn answer(&mut self, handle: u32, answer: Outbound) -> Result<(), ErrorCondition> {
        let Some(Stage::Sending(sending)) = self.links.get_mut(&handle).map(|link| &mut link.stage) else {
            return Ok(());
        };
        if sending.answer(answer) {
            Ok(())
        } else {
            Err(ErrorCondition::new(RESOURCE_LIMIT, "too many answers wait for credit"))
        }
    }

    /// Sends what waits and may be sent. True if there was something.
    pub fn poll_send(&mut self, context: &mut Context<'_>, out: &mut Vec<Frame>) -> bool {
        let before = out.len();
        while self.finish(out) && self.remote_window > 0 && out.len() - before < ROUND {
            let Some((handle, outbound)) = self.poll_next(context) else { break };
            self.begin_delivery(handle, outbound);
        }
        if self.unfinished.is_none() {
            self.tell_drained(out);
        }
        out.len() > before
    }

    /// The next message of any link; each link has its turn.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Option<(u32, Outbound)> {
        let last = self.last_sender;
        for half in [(Bound::Excluded(last), Bound::Unbounded), (Bound::Unbounded, Bound::Included(last))] {
            for (handle, link) in self.links.range_mut(half) {
                if let Stage::Sending(sending) = &mut link.stage
                    && let Poll::Ready(outbound) = sending.poll_next(context)
                {
                    self.last_sender = *handle;
                    return Some((*handle, outbound));
                }
            }
        }
        None
    }

    fn begin_delivery(&mut self, handle: u32, outbound: Outbound) {
        let delivery = self.next_delivery_id;
        self.next_delivery_id = delivery.wrapping_add(1);
        let Outbound { bytes, tag, receipt } = outbound;
        self.unfinished = Some(Unfinished { handle, delivery, tag, settled: receipt.is_none(), rest: bytes });
        if let Some(receipt) = receipt {
            self.unsettled.insert(delivery, Unsettled { handle, receipt });
        }
    }

    /// Sends what is left of a message. False if the client's window does not take it.
    fn finish(&mut self, out: &mut Vec<Frame>) -> bool {
        while let Some(unfinished) = &mut self.unfinished {
            if self.remote_window == 0 {
                return false;
            }
            let payload = unfinished.rest.split_to(unfinished.rest.len().min(self.max_payload));
            let transfer = Transfer {
                handle: unfinished.handle,
                delivery_id: Some(unfinished.delivery),
                delivery_tag: Some(unfinished.tag.clone()),
                message_format: Some(0),
                settled: Some(unfinished.settled),
                more: !unfinished.rest.is_empty(),
                ..Transfer::default()
            };
            if !transfer.more {
                self.unfinished = None;
            }
            self.remote_window -= 1;
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            out.push(Frame::Amqp { channel: self.channel, performative: Performative::Transfer(transfer), payload });
        }
        true
    }

    fn tell_drained(&mut self, out: &mut Vec<Frame>) {
        let mut drained = Vec::new();
        for (handle, link) in &mut self.links {
            if let Stage::Sending(sending) = &mut link.stage
                && sending.drained()
            {
                drained.push(*handle);
            }
        }
        for handle in drained {
            self.echo(handle, out);
        }
    }

    /// FLOW of the session, and of a link if there is one. The client may send a whole window again.
    fn flow_frame(&mut self, handle: Option<u32>, link: (Option<u32>, Option<u32>), drain: bool) -> Frame {
        self.incoming_window = INCOMING_WINDOW;
        let flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            handle,
            delivery_count: link.0,
            link_credit: link.1,
            drain,
            ..Flow::default()
        };
        self.frame(Performative::Flow(flow))
    }

    fn frame(&self, performative: Performative) -> Frame {
        Frame::of(self.channel, performative)
    }
}

/// Most bytes of a message on a link.
fn max_message_bytes(purpose: &Purpose) -> usize {
    match purpose {
        // Anyone may send these, and a token is short.
        Purpose::Tokens => 32 * 1024,
        // A batch, or one message.
        Purpose::Events(_) => 1024 * 1024,
        Purpose::Inputs(_)
        | Purpose::CloudToDevice(_)
        | Purpose::MethodCalls(_)
        | Purpose::MethodAnswers(_)
        | Purpose::TwinRequests(_)
        | Purpose::TwinAnswers(_)
        | Purpose::Service(_) => MAX_MESSAGE_BYTES,
    }
}

/// ATTACH in answer to the client's, without the ends: the hub's handle is the client's.
fn answer(attach: &Attach, purpose: &Purpose) -> Attach {
    let role = match attach.role {
        Role::Sender => Role::Receiver,
        Role::Receiver => Role::Sender,
    };
    let sender_settle_mode = match (role, purpose) {
        (Role::Receiver, _) => attach.sender_settle_mode,
        (Role::Sender, Purpose::Inputs(_) | Purpose::CloudToDevice(_)) => SenderSettleMode::Unsettled,
        (Role::Sender, Purpose::Service(_)) => attach.sender_settle_mode,
        (Role::Sender, _) => SenderSettleMode::Settled,
    };
    Attach {
        name: attach.name.clone(),
        handle: attach.handle,
        role,
        sender_settle_mode,
        // Clients that ask for the second expect dispositions that are settled all the same.
        receiver_settle_mode: ReceiverSettleMode::First,
        source: None,
        target: None,
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: Some(max_message_bytes(purpose) as u64),
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: edgectl_wire::amqp::value::Map::new(),
    }
}

/// What a client did with a delivery; none while it has not said.
fn settlement(disposition: &Disposition) -> Option<Settlement> {
    if disposition.role == Role::Sender {
        return None;
    }
    match &disposition.state {
        Some(DeliveryState::Accepted) => Some(Settlement::Complete),
        Some(DeliveryState::Rejected(_) | DeliveryState::Modified { undeliverable_here: true, .. }) => {
            Some(Settlement::Reject)
        }
        Some(DeliveryState::Released | DeliveryState::Modified { .. }) => Some(Settlement::Abandon),
        // It is done with the delivery and does not say that it took it.
        None | Some(DeliveryState::Received { .. } | DeliveryState::Other(_)) => {
            disposition.settled.then_some(Settlement::Abandon)
        }
    }
}

/// Whether a number is in a range, in the arithmetic of numbers that begin anew behind the highest (RFC 1982).
fn is_between(first: u32, number: u32, last: u32) -> bool {
    number.wrapping_sub(first) <= last.wrapping_sub(first)
}

fn unattached(handle: u32) -> ErrorCondition {
    ErrorCondition::new(UNATTACHED_HANDLE, format!("the handle {handle} is not attached"))
}
