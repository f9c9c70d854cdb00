//! What became of the last messages: for "why did it not arrive".
//!
//! Kept cheap enough to be always on. For each message only the message itself, its place in the log and the routes of that
//! moment are held; what each route made of it is worked out again when somebody asks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::Identity;
use serde::{Deserialize, Serialize};

use super::router::Router;
use super::store::record::{QueueKey, Target};
use super::store::store::Store;
use crate::event::DropReason;
use crate::message::{Message, system};

/// Most messages that are remembered.
const MAX_MESSAGES: usize = 256;
/// Most bytes of their bodies, beside one message that may be larger.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most deliveries that are remembered; messages that are delivered together count once.
const MAX_SETTLED: usize = 1024;

/// The last messages, and the last deliveries.
#[derive(Debug, Default)]
pub struct Trail {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_number: u64,
    bytes: usize,
    passed: VecDeque<Passed>,
    settled: VecDeque<Settled>,
}

/// A message that the hub took.
#[derive(Debug, Clone)]
pub struct Passed {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who sent it.
    pub from: Arc<Identity>,
    /// Where it came from, as routes see it.
    pub source: Arc<str>,
    /// The message.
    pub message: Arc<Message>,
    /// How it found its queues.
    pub way: Way,
    /// Its place in the order of all messages that are kept; none if nobody wanted it.
    pub offset: Option<u64>,
}

/// How a message found its queues.
#[derive(Debug, Clone)]
pub enum Way {
    /// By the routes that were in force.
    Routes(Arc<Router>),
    /// It was put into an input by hand.
    Input(Target),
}

/// Messages of a queue that left it.
#[derive(Debug, Clone)]
struct Settled {
    queue: QueueKey,
    first: u64,
    last: u64,
    at_ms: u64,
    dropped: Option<DropReason>,
}

/// What became of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The device's own number of the message.
    pub number: u64,
    /// The sender's own identifier of it.
    pub message_id: Option<String>,
    /// When it was taken, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who sent it.
    pub from: String,
    /// Where it came from, as routes see it.
    pub source: String,
    /// Application properties.
    pub properties: Vec<(String, Option<String>)>,
    /// System properties.
    pub system_properties: Vec<(String, Option<String>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The routes that were in force, by name: their texts. None if it was put into an input by hand.
    pub routes: Option<Vec<(String, String)>>,
    /// The queues it was put into.
    pub queues: Vec<QueueTrace>,
}

/// What became of a message in one queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueTrace {
    /// The endpoint: `iothub`, or `D/{module}/{input}`.
    pub endpoint: String,
    /// 0 is the most urgent.
    pub priority: u32,
    /// When it is given up, milliseconds since the Unix epoch; none for never.
    pub expires_ms: Option<u64>,
    /// Where it is.
    pub state: QueueState,
    /// When it left the queue, milliseconds since the Unix epoch, if that is still known.
    pub settled_ms: Option<u64>,
    /// Messages that are in the queue now.
    pub waiting: usize,
}

/// Where a message is with respect to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QueueState {
    /// It waits, or is on its way and not acknowledged.
    Waiting,
    /// The endpoint has acknowledged it.
    Delivered,
    /// Its time was over before it could be delivered.
    Expired,
    /// The endpoint will never take it.
    Rejected,
}

impl Trail {
    /// Remembers messages that were taken, in order. The numbers they get go up by one.
    pub fn passed(&self, messages: Vec<Passed>) -> u64 {
        let mut inner = self.lock();
        for message in messages {
            inner.last_number += 1;
            inner.bytes += message.message.body.len();
            inner.passed.push_back(message);
            while inner.passed.len() > MAX_MESSAGES || (inner.bytes > MAX_BYTES && inner.passed.len() > 1) {
                let Some(oldest) = inner.passed.pop_front() else { break };
                inner.bytes -= oldest.message.body.len();
            }
        }
        inner.last_number
    }

    /// Remembers that messages of a queue, from one offset to another, left it.
    pub fn settled(&self, queue: &QueueKey, first: u64, last: u64, at_ms: u64, dropped: Option<DropReason>) {
        let mut inner = self.lock();
        if let Some(before) = inner.settled.back_mut()
            && before.at_ms == at_ms
            && before.dropped == dropped
            && before.queue == *queue
        {
            before.last = last;
            return;
        }
        if inner.settled.len() == MAX_SETTLED {
            inner.settled.pop_front();
        }
        inner.settled.push_back(Settled { queue: queue.clone(), first, last, at_ms, dropped });
    }

    /// The last messages, newest last: those with a number or an identifier, or so many of them.
    pub fn traces(&self, wanted: &Wanted, store: &Store) -> Vec<Trace> {
        let (found, settled) = {
            let inner = self.lock();
            let first = inner.last_number + 1 - inner.passed.len() as u64;
            let numbered = (first..).zip(inner.passed.iter());
            let found: Vec<(u64, Passed)> = match wanted {
                Wanted::Last(count) => {
                    let skipped = inner.passed.len().saturating_sub(*count);
                    numbered.skip(skipped).map(|(number, passed)| (number, passed.clone())).collect()
                }
                Wanted::Identifier(text) => numbered
                    .filter(|(number, passed)| {
                        passed.message.system.get(system::MESSAGE_ID) == Some(text) || number.to_string() == *text
                    })
                    .map(|(number, passed)| (number, passed.clone()))
                    .collect(),
            };
            (found, inner.settled.clone())
        };
        let lengths = store.lengths();
        found.into_iter().map(|(number, passed)| trace(number, &passed, &settled, store, &lengths)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which messages are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// The last so many.
    Last(usize),
    /// That with this number, and those with this identifier.
    Identifier(String),
}

fn trace(
    number: u64,
    passed: &Passed,
    settled: &VecDeque<Settled>,
    store: &Store,
    lengths: &[(QueueKey, usize)],
) -> Trace {
    let (routes, targets) = match &passed.way {
        Way::Routes(router) => {
            let routed = router.route(&passed.source, Arc::clone(&passed.message), passed.at_ms);
            let texts = router.texts().iter().map(|(name, text)| (name.clone(), text.clone())).collect();
            (Some(texts), routed.incoming.map(|incoming| incoming.targets).unwrap_or_default())
        }
        Way::Input(target) => (None, vec![target.clone()]),
    };
    let bag = |bag: &crate::message::Properties| {
        bag.iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect()
    };
    let queue = |target: Target| {
        let offset = passed.offset.unwrap_or(u64::MAX);
        let (state, settled_ms) = state_of(&target, offset, settled, store);
        let waiting = lengths.iter().find(|(key, _)| *key == target.queue).map_or(0, |(_, length)| *length);
        QueueTrace {
            endpoint: target.queue.endpoint.to_string(),
            priority: target.queue.priority,
            expires_ms: (target.expires_ms != u64::MAX).then_some(target.expires_ms),
            state,
            settled_ms,
            waiting,
        }
    };
    Trace {
        number,
        message_id: passed.message.system.get(system::MESSAGE_ID).map(str::to_owned),
        at_ms: passed.at_ms,
        from: passed.from.to_string(),
        source: passed.source.to_string(),
        properties: bag(&passed.message.properties),
        system_properties: bag(&passed.message.system),
        body: passed.message.body.to_vec(),
        routes,
        queues: targets.into_iter().map(queue).collect(),
    }
}

fn state_of(target: &Target, offset: u64, settled: &VecDeque<Settled>, store: &Store) -> (QueueState, Option<u64>) {
    if store.holds(&target.queue, offset) {
        return (QueueState::Waiting, None);
    }
    let known =
        settled.iter().find(|entry| entry.queue == target.queue && (entry.first..=entry.last).contains(&offset));
    match known {
        Some(Settled { dropped: None, at_ms, .. }) => (QueueState::Delivered, Some(*at_ms)),
        Some(Settled { dropped: Some(DropReason::TtlExpiry), at_ms, .. }) => (QueueState::Expired, Some(*at_ms)),
        Some(Settled { at_ms, .. }) => (QueueState::Rejected, Some(*at_ms)),
        // A queue is done from its front, and what nobody was handed was too old.
        None if settled.iter().any(|entry| entry.queue == target.queue && entry.first > offset) => {
            (QueueState::Expired, None)
        }
        None if target.expires_ms != u64::MAX && settled.iter().all(|entry| entry.queue != target.queue) => {
            (QueueState::Expired, None)
        }
        None => (QueueState::Delivered, None),
    }
}
