//! Messages under way to one module, in order, and how many of them there may be.
//!
//! A module that takes its time gets messages one by one, as from the real hub: the next is still in the store when its
//! time runs out, or when a more urgent one comes. One that settles at once gets more and more of them together, because
//! then it is the way to and fro that takes the time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::store::record::{Entry, QueueKey};
use crate::clock::Clock;
use crate::gateway::{ClientLink, Delivery, Destination};
use crate::receipt::{Outcome, Receipts};

/// Most messages under way to one input.
const MAX_MESSAGES: usize = 256;
/// Most bytes under way to one input, beside one message that may be larger.
const MAX_BYTES: usize = 1024 * 1024;
/// Who settles a message within this time gets more of them at once.
const PROMPT: Duration = Duration::from_millis(100);

/// The line to one connection of a module.
pub(super) struct Line {
    /// The connection.
    pub(super) link: Arc<dyn ClientLink>,
    /// Tells when the first message is settled.
    pub(super) receipts: Arc<Receipts>,
    destination: Destination,
    under_way: VecDeque<Given>,
    bytes: usize,
    limit: usize,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// When the first message under way became the first.
    since: Instant,
}

/// A message under way.
pub(super) struct Given {
    /// The queue it stands in.
    pub(super) queue: QueueKey,
    /// The message.
    pub(super) entry: Entry,
    /// When it was handed over, milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
    /// When it was handed over.
    at: Instant,
}

impl Line {
    /// Nothing is under way yet. A message is waited for as long as `timeout`.
    pub(super) fn new(
        link: Arc<dyn ClientLink>,
        destination: Destination,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            link,
            receipts: Arc::default(),
            destination,
            under_way: VecDeque::new(),
            bytes: 0,
            limit: 1,
            timeout,
            since: clock.now(),
            clock,
        }
    }

    /// How many more messages may be handed over now.
    pub(super) fn room(&self) -> usize {
        if self.bytes < MAX_BYTES { self.limit.saturating_sub(self.under_way.len()) } else { 0 }
    }

    /// How long the first message under way is still waited for; all the time there is if nothing is under way.
    pub(super) fn time_left(&self) -> Duration {
        if self.under_way.is_empty() {
            return self.timeout;
        }
        self.timeout.saturating_sub(self.clock.now() - self.since)
    }

    /// Hands over messages of a queue, the first `redelivered` of which were on their way before.
    pub(super) fn hand_over(&mut self, queue: &QueueKey, messages: Vec<Entry>, redelivered: usize) {
        let (now, now_ms) = (self.clock.now(), self.clock.now_ms());
        if self.under_way.is_empty() {
            self.since = now;
        }
        let mut deliveries = Vec::with_capacity(messages.len());
        for (index, stored) in messages.into_iter().enumerate() {
            self.bytes += stored.message.body.len();
            let delivery = Delivery {
                destination: self.destination.clone(),
                message: Arc::clone(&stored.message),
                redelivered: index < redelivered,
            };
            self.under_way.push_back(Given { queue: queue.clone(), entry: stored, at_ms: now_ms, at: now });
            deliveries.push((delivery, self.receipts.issue()));
        }
        self.link.deliver(deliveries);
    }

    /// What is settled, in order.
    pub(super) fn collect(&mut self) -> Vec<(Given, Outcome)> {
        let now = self.clock.now();
        let mut settled = Vec::new();
        for outcome in self.receipts.collect() {
            let Some(given) = self.under_way.pop_front() else { break };
            self.bytes -= given.entry.message.body.len();
            self.limit = if now - given.at < PROMPT { (self.limit + 1).min(MAX_MESSAGES) } else { 1 };
            settled.push((given, outcome));
        }
        self.since = now;
        settled
    }
}
