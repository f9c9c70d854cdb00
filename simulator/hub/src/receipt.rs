//! What becomes of messages that were handed to a client: a receipt goes out with each, and tells when it is settled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::gateway::{LinkClosed, Settlement};

/// What a client did with a message, or that it left without saying.
pub type Outcome = Result<Settlement, LinkClosed>;

/// Goes with one message to a client. A receipt that is dropped unsettled says that the connection ended.
#[derive(Debug)]
pub struct Receipt {
    receipts: Arc<Receipts>,
    number: u64,
    settled: bool,
}

impl Receipt {
    /// Says what the client did.
    pub fn settle(mut self, settlement: Settlement) {
        self.settled = true;
        self.receipts.set(self.number, Ok(settlement));
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.settled {
            self.receipts.set(self.number, Err(LinkClosed));
        }
    }
}

/// The receipts of messages that are under way, in the order in which they were handed out.
#[derive(Debug, Default)]
pub struct Receipts {
    under_way: Mutex<UnderWay>,
    front_settled: Notify,
}

#[derive(Debug, Default)]
struct UnderWay {
    /// The number of the first.
    first: u64,
    outcomes: VecDeque<Option<Outcome>>,
}

impl Receipts {
    /// A receipt for one more message.
    pub fn issue(self: &Arc<Self>) -> Receipt {
        let mut under_way = self.lock();
        let number = under_way.first + under_way.outcomes.len() as u64;
        under_way.outcomes.push_back(None);
        Receipt { receipts: Arc::clone(self), number, settled: false }
    }

    /// How many are not collected yet.
    pub fn len(&self) -> usize {
        self.lock().outcomes.len()
    }

    /// Whether all are collected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Collects what is settled, up to the first that is not.
    pub fn collect(&self) -> Vec<Outcome> {
        let mut under_way = self.lock();
        let settled = under_way.outcomes.iter().take_while(|outcome| outcome.is_some()).count();
        under_way.first += settled as u64;
        under_way.outcomes.drain(..settled).flatten().collect()
    }

    /// Waits until the first that is under way is settled. Who waits must be alone.
    pub async fn settled(&self) {
        loop {
            let settled = self.front_settled.notified();
            if matches!(self.lock().outcomes.front(), Some(Some(_))) {
                return;
            }
            settled.await;
        }
    }

    fn set(&self, number: u64, outcome: Outcome) {
        let is_front = {
            let mut under_way = self.lock();
            let Some(index) = number.checked_sub(under_way.first) else { return };
            if let Some(slot) = under_way.outcomes.get_mut(index as usize) {
                *slot = Some(outcome);
            }
            index == 0
        };
        if is_front {
            self.front_settled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_out_of_turn_waits_for_its_turn() {
        let receipts = Arc::new(Receipts::default());
        let (first, second, third) = (receipts.issue(), receipts.issue(), receipts.issue());
        second.settle(Settlement::Complete);
        assert_eq!(receipts.collect(), []);
        first.settle(Settlement::Reject);
        assert_eq!(receipts.collect(), [Ok(Settlement::Reject), Ok(Settlement::Complete)]);
        drop(third);
        assert_eq!(receipts.collect(), [Err(LinkClosed)]);
        assert!(receipts.is_empty());
    }

    #[tokio::test]
    async fn who_waits_is_told_of_the_first_alone() {
        let receipts = Arc::new(Receipts::default());
        let (first, second) = (receipts.issue(), receipts.issue());
        let waiting = tokio::spawn({
            let receipts = Arc::clone(&receipts);
            async move { receipts.settled().await }
        });
        second.settle(Settlement::Complete);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.settle(Settlement::Complete);
        waiting.await.unwrap();
    }
}
