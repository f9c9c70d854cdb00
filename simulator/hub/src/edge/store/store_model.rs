//! The store beside a model that keeps everything in lists: whatever is done to both, also crashes, the same comes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::durability::Durability;
use super::files::{Files as _, Memory};
use super::record::{QueueKey, Target};
use super::segment::{bases, log_name};
use super::store::{Incoming, Store};
use super::store_tests::{NEVER, SMALL, append, key};
use crate::message::Message;

/// What is done to a store beside its model.
#[derive(Debug, Clone)]
enum Step {
    Append { queues: Vec<(u8, bool)>, expires_in: Option<u64>, size: usize },
    Take { endpoint: u8, count: usize },
    Complete { endpoint: u8, share: usize },
    GiveBack { endpoint: u8 },
    Wait { ms: u64 },
    Sweep,
    Restart,
    Crash { torn: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let queues = proptest::collection::vec((0..3u8, any::<bool>()), 1..4);
    prop_oneof![
        6 => (queues, proptest::option::weighted(0.3, 1..40u64), 0..400usize)
            .prop_map(|(queues, expires_in, size)| Step::Append { queues, expires_in, size }),
        4 => (0..3u8, 1..9usize).prop_map(|(endpoint, count)| Step::Take { endpoint, count }),
        4 => (0..3u8, 0..9usize).prop_map(|(endpoint, share)| Step::Complete { endpoint, share }),
        1 => (0..3u8).prop_map(|endpoint| Step::GiveBack { endpoint }),
        1 => (1..30u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
        1 => (0..12usize).prop_map(|torn| Step::Crash { torn }),
    ]
}

/// A queue of the model: what was appended and is not done, and what had been done but may come back after a crash.
#[derive(Debug, Default)]
struct Model {
    waiting: VecDeque<(u64, u64)>,
    taken: usize,
    done: VecDeque<(u64, u64)>,
}

struct Run {
    files: Arc<Memory>,
    store: Option<Store>,
    model: BTreeMap<QueueKey, Model>,
    /// What is under way, by endpoint: the queue and the number of each message.
    under_way: BTreeMap<u8, VecDeque<(QueueKey, u64, u64)>>,
    now: u64,
    next: u64,
}

impl Run {
    fn new() -> Self {
        let files = Arc::new(Memory::default());
        let store = Some(Store::on(Arc::clone(&files) as _, Durability::Process, SMALL).unwrap());
        Self { files, store, model: BTreeMap::new(), under_way: BTreeMap::new(), now: 1000, next: 0 }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn name(endpoint: u8) -> String {
        format!("endpoint{endpoint}")
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { queues, expires_in, size } => self.append(queues, expires_in, size),
            Step::Take { endpoint, count } => self.take(endpoint, count),
            Step::Complete { endpoint, share } => self.complete(endpoint, share),
            Step::GiveBack { endpoint } => self.give_back(endpoint),
            Step::Wait { ms } => self.now += ms,
            Step::Sweep => {
                self.store().sweep(self.now);
                self.forget_swept();
            }
            Step::Restart => {
                self.store = None;
                self.reopen();
                for queue in self.model.values_mut() {
                    queue.done.clear();
                }
            }
            Step::Crash { torn } => self.crash(torn),
        }
    }

    fn append(&mut self, queues: Vec<(u8, bool)>, expires_in: Option<u64>, size: usize) {
        let expires_ms = expires_in.map_or(NEVER, |ms| self.now + ms);
        let mut keys: Vec<QueueKey> =
            queues.iter().map(|(endpoint, urgent)| key(&Self::name(*endpoint), u32::from(!urgent))).collect();
        keys.sort();
        keys.dedup();
        let number = self.next;
        self.next += 1;
        let body = format!("{number:08}{}", "x".repeat(size));
        let targets = keys.iter().map(|queue| Target { queue: queue.clone(), expires_ms }).collect();
        append(self.store(), vec![Incoming { message: Arc::new(Message::new(body)), enqueued_ms: self.now, targets }]);
        for key in keys {
            self.model.entry(key).or_default().waiting.push_back((number, expires_ms));
        }
    }

    fn take(&mut self, endpoint: u8, count: usize) {
        let now = self.now;
        let batch = self.store().take(&Self::name(endpoint).into(), count, now).unwrap();
        // Queues of which nothing is under way lose what has expired at their front, up to the one that has something.
        for (key, queue) in self.model.iter_mut().filter(|(key, _)| *key.endpoint == *Self::name(endpoint)) {
            if batch.queue.as_ref().is_some_and(|found| found < key) {
                break;
            }
            while queue.taken == 0 && queue.waiting.front().is_some_and(|(_, expires)| *expires <= now) {
                queue.done.extend(queue.waiting.pop_front());
            }
        }
        let Some(key) = batch.queue else {
            for (key, queue) in self.model.iter().filter(|(key, _)| *key.endpoint == *Self::name(endpoint)) {
                let next = queue.waiting.get(queue.taken);
                assert!(next.is_none_or(|(_, expires)| *expires <= now), "{key:?} has {next:?} and nothing came");
            }
            return;
        };
        for entry in &batch.messages {
            let number: u64 = std::str::from_utf8(&entry.message.body[..8]).unwrap().parse().unwrap();
            let queue = self.model.get_mut(&key).unwrap();
            assert_eq!(queue.waiting.get(queue.taken).map(|(number, _)| *number), Some(number), "{key:?} {queue:?}");
            queue.taken += 1;
            self.under_way.entry(endpoint).or_default().push_back((key.clone(), entry.offset, number));
        }
    }

    fn complete(&mut self, endpoint: u8, share: usize) {
        let under_way = self.under_way.entry(endpoint).or_default();
        let count = share.min(under_way.len());
        let done: Vec<_> = under_way.drain(..count).collect();
        for (key, offset, number) in done {
            self.store().complete(&key, offset).unwrap();
            let queue = self.model.get_mut(&key).unwrap();
            assert_eq!(queue.waiting.front().map(|(number, _)| *number), Some(number));
            queue.done.extend(queue.waiting.pop_front());
            queue.taken -= 1;
        }
    }

    fn give_back(&mut self, endpoint: u8) {
        self.store().give_back(&Self::name(endpoint).into());
        self.under_way.remove(&endpoint);
        for (_, queue) in self.model.iter_mut().filter(|(key, _)| *key.endpoint == *Self::name(endpoint)) {
            queue.taken = 0;
        }
    }

    /// Whole segments are swept, so that the store may have more left than its model, but nothing that has not expired.
    fn forget_swept(&mut self) {
        let lengths: BTreeMap<QueueKey, usize> = self.store().lengths().into_iter().collect();
        let now = self.now;
        for (key, queue) in &mut self.model {
            let left = lengths.get(key).copied().unwrap_or_default();
            while queue.waiting.len() > left {
                let (number, expires) = queue.waiting.pop_front().unwrap();
                assert!(expires <= now, "{number} was swept from {key:?}");
                queue.done.push_back((number, expires));
            }
        }
    }

    fn reopen(&mut self) {
        self.under_way.clear();
        for queue in self.model.values_mut() {
            queue.taken = 0;
        }
        self.store = Some(Store::on(Arc::clone(&self.files) as _, Durability::Process, SMALL).unwrap());
        self.now += 1;
    }

    /// The process dies, perhaps while it writes: nothing that was kept is lost, and what was done may come back.
    fn crash(&mut self, torn: usize) {
        std::mem::forget(self.store.take());
        let newest = bases(self.files.as_ref()).unwrap().pop().map(log_name);
        if let Some(newest) = newest {
            let file = self.files.open(&newest).unwrap();
            file.append(&vec![9; torn], file.length().unwrap()).unwrap();
        }
        self.reopen();
        let lengths: BTreeMap<QueueKey, usize> = self.store().lengths().into_iter().collect();
        for (key, queue) in &mut self.model {
            let left = lengths.get(key).copied().unwrap_or_default();
            while queue.waiting.len() < left {
                let again = queue.done.pop_back();
                queue.waiting.push_front(again.expect("only what was done comes back"));
            }
            queue.done.clear();
        }
        self.forget_swept();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn does_what_the_model_does(steps in proptest::collection::vec(step(), 0..120)) {
        let mut run = Run::new();
        for step in steps {
            run.run(step);
        }
        // In the end everything can still be taken, in order.
        for endpoint in 0..3 {
            run.give_back(endpoint);
            loop {
                let before = run.under_way.get(&endpoint).map_or(0, VecDeque::len);
                run.take(endpoint, 3);
                if run.under_way.get(&endpoint).map_or(0, VecDeque::len) == before {
                    break;
                }
                run.complete(endpoint, 2);
            }
        }
    }
}
