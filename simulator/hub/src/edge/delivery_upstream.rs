//! From the queue of the cloud to the hub above: each sender's messages in order, the senders at the same time.
//!
//! Every sender has a connection of its own to the hub above, on which the way to and fro is waited for. Sent one after the
//! other, the messages of ten modules would take ten times as long as those of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgectl_schemas::ids::Identity;
use futures_util::{StreamExt as _, stream};

use super::delivery::{Outbound, RETRY_DELAYS};
use crate::edge::metrics::Delivered;
use crate::edge::store::record::{Entry, QueueKey};
use crate::event::DropReason;
use crate::gateway::Refusal;
use crate::message::{Message, system};

/// Messages taken from the store at once.
const BATCH: usize = 100;

/// What became of messages that stand behind one that is still to be sent: done with for good, and why if they were
/// dropped. By priority and offset.
type Ahead = BTreeMap<(u32, u64), Option<DropReason>>;

impl Outbound {
    /// Sends the messages of the cloud's queues until it is dropped.
    pub(super) async fn run_upstream(&self, endpoint: &Arc<str>) {
        let mut delay = RETRY_DELAYS[0];
        let mut delivered = Delivered::new(Arc::clone(&self.metrics), endpoint);
        let mut ahead = Ahead::new();
        loop {
            let (queue, messages) = self.next(endpoint, BATCH).await;
            // What stood before these has expired.
            let first = messages.first().map_or(0, |entry| entry.offset);
            ahead.retain(|(priority, offset), _| *priority != queue.priority || *offset >= first);
            let is_all_sent = self.send_all(&queue, &messages, &mut ahead, &mut delivered).await;
            self.settle(&queue, &messages, &mut ahead);
            if is_all_sent {
                delay = RETRY_DELAYS[0];
            } else {
                self.clock.sleep(delay).await;
                delay = (delay * 2).min(RETRY_DELAYS[1]);
            }
            self.store.give_back(endpoint);
        }
    }

    /// Sends what was not sent before. False if some has to be tried again.
    async fn send_all(
        &self,
        queue: &QueueKey,
        messages: &[Entry],
        ahead: &mut Ahead,
        delivered: &mut Delivered,
    ) -> bool {
        let started_ms = self.clock.now_ms();
        let left = messages.iter().filter(|entry| !ahead.contains_key(&(queue.priority, entry.offset)));
        let mut runs = Vec::new();
        for run in by_sender(left) {
            runs.push(async move {
                let outcome = self.send_run(&run).await;
                (run, outcome)
            });
        }
        let at_once = self.settings.borrow().upstream_fan_out;
        let mut sending = stream::iter(runs).buffer_unordered(at_once);
        let mut is_all_sent = true;
        while let Some((run, outcome)) = sending.next().await {
            match outcome {
                Outcome::Retry => is_all_sent = false,
                Outcome::Done(dropped) => {
                    ahead.extend(run.iter().map(|entry| ((queue.priority, entry.offset), dropped)));
                    if dropped.is_none() {
                        let sent = run.iter().map(|entry| (&*entry.message, entry.enqueued_ms, started_ms));
                        delivered.count(queue, sent);
                    }
                }
            }
        }
        is_all_sent
    }

    /// Sends messages of one sender.
    async fn send_run(&self, run: &[&Entry]) -> Outcome {
        let Some(identity) = run.first().and_then(|entry| sender(&entry.message)) else {
            return Outcome::Done(Some(DropReason::Rejected));
        };
        let bodies = run.iter().map(|entry| Message::clone(&entry.message)).collect();
        match self.upstream.send(&identity, bodies).await {
            Ok(()) => Outcome::Done(None),
            Err(refusal) if is_final(&refusal) => {
                tracing::warn!(%identity, %refusal, "the cloud hub refused messages for good");
                Outcome::Done(Some(DropReason::Rejected))
            }
            Err(refusal) => {
                tracing::debug!(%identity, %refusal, "the cloud hub cannot be reached");
                self.metrics.retried(&identity, "SendMessage");
                Outcome::Retry
            }
        }
    }

    /// Completes messages up to the first that is still to be sent: a queue is done from its front.
    fn settle(&self, queue: &QueueKey, messages: &[Entry], ahead: &mut Ahead) {
        let outcome = |entry: &Entry| ahead.get(&(queue.priority, entry.offset)).copied();
        for run in messages.chunk_by(|a, b| outcome(a) == outcome(b)) {
            let Some(dropped) = outcome(&run[0]) else { break };
            self.done(queue, (run[0].offset, run[run.len() - 1].offset), run.len(), dropped);
        }
        let first = messages.iter().find(|entry| outcome(entry).is_none()).map(|entry| entry.offset);
        let is_left = |offset| first.is_some_and(|first| offset > first);
        ahead.retain(|(priority, offset), _| *priority != queue.priority || is_left(*offset));
    }
}

/// What came of sending.
enum Outcome {
    /// The hub above has them, or never will.
    Done(Option<DropReason>),
    /// They have to be sent again.
    Retry,
}

/// The messages of each sender, in order.
fn by_sender<'m>(messages: impl Iterator<Item = &'m Entry>) -> Vec<Vec<&'m Entry>> {
    let mut runs: Vec<Vec<&Entry>> = Vec::new();
    for entry in messages {
        match runs.iter_mut().find(|run| is_same_sender(&run[0].message, &entry.message)) {
            Some(run) => run.push(entry),
            None => runs.push(vec![entry]),
        }
    }
    runs
}

/// Whether two messages came from the same client.
fn is_same_sender(one: &Message, other: &Message) -> bool {
    let is_same = |name| one.system.get(name) == other.system.get(name);
    is_same(system::CONNECTION_DEVICE_ID) && is_same(system::CONNECTION_MODULE_ID)
}

fn sender(message: &Message) -> Option<Identity> {
    let device = message.system.get(system::CONNECTION_DEVICE_ID)?;
    let text = match message.system.get(system::CONNECTION_MODULE_ID) {
        None => device.to_owned(),
        Some(module) => format!("{device}/{module}"),
    };
    Identity::parse(&text).ok()
}

fn is_final(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::TooLarge { .. } | Refusal::Invalid(_) | Refusal::Unauthorized(_) | Refusal::NotFound(_) => true,
        Refusal::NotConnected(_) | Refusal::NoAnswer(_) | Refusal::Detached | Refusal::Unavailable(_) => false,
    }
}
