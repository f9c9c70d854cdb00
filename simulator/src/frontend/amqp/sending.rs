//! The hub's end of a link on which the client receives: the client's credit, and what waits for it.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use edgectl_hub::gateway::Settlement;
use tokio::sync::mpsc;

use super::link::Outbound;

/// Answers that may wait for a client that gives no credit.
const MAX_WAITING: usize = 256;

/// The sending end of a link.
pub struct Sending {
    credit: u32,
    delivery_count: u32,
    drain: bool,
    /// What the hub has for the client; none where only answers go.
    line: Option<mpsc::Receiver<Outbound>>,
    answers: VecDeque<Outbound>,
    max_message_bytes: Option<u64>,
}

impl Sending {
    /// A link without credit.
    pub fn new(line: Option<mpsc::Receiver<Outbound>>, max_message_size: Option<u64>) -> Self {
        // Zero is the same as none.
        let max_message_bytes = max_message_size.filter(|size| *size > 0);
        Self { credit: 0, delivery_count: 0, drain: false, line, answers: VecDeque::new(), max_message_bytes }
    }

    /// The client told its credit, and from which count on.
    pub fn credited(&mut self, delivery_count: Option<u32>, credit: u32, drain: bool) {
        // What is on its way to the client is no longer credit (2.6.7).
        let on_the_way = self.delivery_count.wrapping_sub(delivery_count.unwrap_or_default());
        self.credit = credit.saturating_sub(on_the_way);
        self.drain = drain;
    }

    /// Adds an answer. False if too many wait already.
    pub fn answer(&mut self, answer: Outbound) -> bool {
        self.answers.push_back(answer);
        self.answers.len() <= MAX_WAITING
    }

    /// The next message for which there is credit. Pending also where there is none: credit comes as a frame.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Outbound> {
        if self.credit == 0 {
            return Poll::Pending;
        }
        loop {
            let next = match (self.answers.pop_front(), &mut self.line) {
                (Some(answer), _) => answer,
                (None, None) => return Poll::Pending,
                (None, Some(line)) => match line.poll_recv(context) {
                    Poll::Ready(Some(outbound)) => outbound,
                    // Another link took the line over.
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                },
            };
            if self.max_message_bytes.is_none_or(|most| next.bytes.len() as u64 <= most) {
                self.credit -= 1;
                self.delivery_count = self.delivery_count.wrapping_add(1);
                return Poll::Ready(next);
            }
            if let Some(receipt) = next.receipt {
                receipt.settle(Settlement::Reject);
            }
        }
    }

    /// Gives up the credit that the client wants used up or back, when nothing waits. True if that is to be told.
    pub fn drained(&mut self) -> bool {
        if !self.drain || self.credit == 0 {
            return false;
        }
        self.delivery_count = self.delivery_count.wrapping_add(std::mem::take(&mut self.credit));
        true
    }

    /// The delivery count and credit as they are, and whether the client drains.
    pub fn window(&self) -> (u32, u32, bool) {
        (self.delivery_count, self.credit, self.drain)
    }
}
