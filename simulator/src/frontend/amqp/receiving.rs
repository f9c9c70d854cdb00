//! The hub's end of a link on which the client sends: credit, and messages put together from their parts.

use bytes::{Bytes, BytesMut};
use edgectl_wire::amqp::condition::{ErrorCondition, INVALID_FIELD, MESSAGE_SIZE, TRANSFER_LIMIT};
use edgectl_wire::amqp::transfer::Transfer;

/// Messages that a client may have on their way to the hub, on one link.
const CREDIT: u32 = 100;

/// The receiving end of a link.
pub struct Receiving {
    max_message_bytes: usize,
    /// What the client may still send.
    credit: u32,
    /// Deliveries so far.
    delivery_count: u32,
    /// Deliveries that the hub has not done with.
    held: u32,
    partial: Option<Partial>,
}

/// A message that is not all there.
struct Partial {
    id: u32,
    format: u32,
    settled: bool,
    bytes: BytesMut,
}

/// A message that a client sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its number in the session.
    pub id: u32,
    /// How the bytes are to be read.
    pub format: u32,
    /// Whether the client waits for no answer.
    pub settled: bool,
    /// The message.
    pub bytes: Bytes,
}

impl Receiving {
    /// A link without credit, whose sender begins to count somewhere.
    pub fn new(delivery_count: u32, max_message_bytes: usize) -> Self {
        Self { max_message_bytes, credit: 0, delivery_count, held: 0, partial: None }
    }

    /// Takes a part of a message, and returns the message with its last part. The error ends the link.
    pub fn take(&mut self, transfer: &Transfer, payload: Bytes) -> Result<Option<Delivered>, ErrorCondition> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => self.begin(transfer)?,
        };
        if transfer.aborted {
            return Ok(None);
        }
        partial.settled |= transfer.settled.unwrap_or_default();
        if partial.bytes.len() + payload.len() > self.max_message_bytes {
            let description = format!("the most is {} bytes", self.max_message_bytes);
            return Err(ErrorCondition::new(MESSAGE_SIZE, description));
        }
        let Partial { id, format, settled, .. } = partial;
        let bytes = if partial.bytes.is_empty() && !transfer.more {
            payload
        } else {
            partial.bytes.extend_from_slice(&payload);
            if transfer.more {
                self.partial = Some(partial);
                return Ok(None);
            }
            partial.bytes.freeze()
        };
        self.held += 1;
        Ok(Some(Delivered { id, format, settled, bytes }))
    }

    fn begin(&mut self, transfer: &Transfer) -> Result<Partial, ErrorCondition> {
        let id = transfer.delivery_id.ok_or_else(|| ErrorCondition::new(INVALID_FIELD, "delivery-id is missing"))?;
        self.credit = self
            .credit
            .checked_sub(1)
            .ok_or_else(|| ErrorCondition::new(TRANSFER_LIMIT, "there was no credit for the message"))?;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        let format = transfer.message_format.unwrap_or_default();
        Ok(Partial { id, format, settled: false, bytes: BytesMut::new() })
    }

    /// The hub is done with some deliveries.
    pub fn done(&mut self, count: u32) {
        self.held = self.held.saturating_sub(count);
    }

    /// Gives new credit when half of it is used up: delivery count and credit, if they are to be told. While the hub is
    /// slow, what it holds is credit that nobody gets.
    pub fn replenish(&mut self) -> Option<(u32, u32)> {
        if self.credit + self.held > CREDIT / 2 {
            return None;
        }
        self.credit = CREDIT - self.held;
        Some(self.window())
    }

    /// The delivery count and credit as they are.
    pub fn window(&self) -> (u32, u32) {
        (self.delivery_count, self.credit)
    }

    /// The sender has its own count, further on where it gave up credit.
    pub fn counted(&mut self, delivery_count: u32) {
        let ahead = delivery_count.wrapping_sub(self.delivery_count);
        if ahead <= self.credit {
            self.credit -= ahead;
            self.delivery_count = delivery_count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn transfer(id: u32, more: bool) -> Transfer {
        Transfer { delivery_id: Some(id), more, ..Transfer::default() }
    }

    #[test]
    fn a_message_comes_in_parts_and_no_part_of_one_that_was_given_up() {
        let mut link = Receiving::new(7, MAX);
        assert_eq!(link.replenish(), Some((7, CREDIT)));
        assert_eq!(link.take(&transfer(1, true), "a".into()), Ok(None));
        let aborted = Transfer { aborted: true, ..transfer(1, false) };
        assert_eq!(link.take(&aborted, "b".into()), Ok(None));
        assert_eq!(link.take(&transfer(2, true), "c".into()), Ok(None));
        let whole = Delivered { id: 2, format: 0, settled: false, bytes: "cd".into() };
        assert_eq!(link.take(&Transfer::default(), "d".into()), Ok(Some(whole)));
        assert_eq!(link.window(), (9, CREDIT - 2));
    }

    #[test]
    fn credit_is_given_for_what_the_hub_has_done_and_not_before() {
        let mut link = Receiving::new(0, MAX);
        link.replenish();
        for id in 0..CREDIT {
            assert!(link.take(&transfer(id, false), Bytes::new()).unwrap().is_some());
            assert_eq!(link.replenish(), None);
        }
        assert_eq!(link.take(&transfer(CREDIT, false), Bytes::new()).unwrap_err().condition, TRANSFER_LIMIT);
        link.done(CREDIT / 2 - 1);
        assert_eq!(link.replenish(), None);
        link.done(1);
        assert_eq!(link.replenish(), Some((CREDIT, CREDIT / 2)));
    }

    #[test]
    fn what_is_too_large_ends_the_link() {
        let mut link = Receiving::new(0, MAX);
        link.replenish();
        let half = Bytes::from(vec![0; MAX / 2 + 1]);
        assert_eq!(link.take(&transfer(1, true), half.clone()), Ok(None));
        assert_eq!(link.take(&transfer(1, false), half).unwrap_err().condition, MESSAGE_SIZE);
    }
}
