//! The store as a whole: what it finds again, what it forgets, what failing files do to it, and beside a model.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::durability::Durability;
use super::files::{Appendable, Files, Memory};
use super::record::{QueueKey, Target};
use super::store::{Bounds, Incoming, Store, StoreError};
use crate::message::Message;

const NEVER: u64 = u64::MAX;
/// So small that a few messages make a segment, and fewer are kept in memory.
const SMALL: Bounds = Bounds { segment_bytes: 600, memory_bytes: 2000, queue_memory_bytes: 700, limit_bytes: None };

/// Whether a file's name has an ending.
fn ends(name: &str, ending: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|found| found == ending)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn key(endpoint: &str, priority: u32) -> QueueKey {
    QueueKey { endpoint: endpoint.into(), priority }
}

fn incoming(body: &str, queues: &[&str], expires_ms: u64) -> Incoming {
    let targets = queues.iter().map(|queue| Target { queue: key(queue, 0), expires_ms }).collect();
    Incoming { message: Arc::new(Message::new(body.to_owned())), enqueued_ms: 1, targets }
}

fn open(directory: &TempDir) -> Store {
    Store::open(directory.path(), Durability::Process).unwrap()
}

fn append(store: &Store, messages: Vec<Incoming>) {
    block_on(store.append(messages)).unwrap();
}

/// All messages of an endpoint's most urgent queue, left where they are.
fn bodies(store: &Store, endpoint: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let batch = store.take(&endpoint.into(), 1000, 100).unwrap();
        if batch.messages.is_empty() {
            store.give_back(&endpoint.into());
            return bodies;
        }
        bodies.extend(batch.messages.iter().map(|entry| String::from_utf8(entry.message.body.to_vec()).unwrap()));
    }
}

fn segments(directory: &TempDir) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    logs.sort();
    logs
}

#[test]
fn what_was_kept_and_not_done_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    append(&store, vec![incoming("a", &["x", "y"], NEVER), incoming("b", &["x"], NEVER)]);
    let first = store.take(&"x".into(), 1, 100).unwrap();
    store.complete(&key("x", 0), first.messages[0].offset).unwrap();
    drop(store);

    let store = open(&directory);
    assert_eq!(bodies(&store, "x"), ["b"]);
    assert_eq!(bodies(&store, "y"), ["a"]);
    append(&store, vec![incoming("c", &["x"], NEVER)]);
    assert_eq!(bodies(&store, "x"), ["b", "c"]);
}

#[test]
fn memory_keeps_nothing_and_stops_at_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Durability::Memory).unwrap();
    store.limit(Some(10_000), Durability::Memory);
    let body = "x".repeat(3000);
    for _ in 0..4 {
        append(&store, vec![incoming(&body, &["x"], NEVER)]);
    }
    let refused = block_on(store.append(vec![incoming("more", &["x"], NEVER)]));
    assert!(matches!(refused, Err(StoreError::Full { limit: 10_000, .. })), "{refused:?}");
    let batch = store.take(&"x".into(), 10, 100).unwrap();
    assert_eq!(batch.messages.len(), 4);
    store.complete(&key("x", 0), batch.messages[3].offset).unwrap();
    append(&store, vec![incoming("more", &["x"], NEVER)]);
    assert_eq!(bodies(&store, "x"), ["more"]);
    drop(store);
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

#[test]
fn a_torn_last_write_is_cut_off_and_the_log_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    append(&open(&directory), vec![incoming("a", &["x"], NEVER)]);
    for rest in [&[40, 0, 0, 0, 1, 2][..], &[0; 300], &[7]] {
        let segment = segments(&directory).pop().unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes.extend(rest);
        std::fs::write(&segment, &bytes).unwrap();
        let store = open(&directory);
        append(&store, vec![incoming("b", &["x"], NEVER)]);
        assert_eq!(bodies(&store, "x").len(), 2);
        let batch = store.take(&"x".into(), 10, 100).unwrap();
        store.complete(&key("x", 0), batch.messages[0].offset).unwrap();
        drop(store);
        assert_eq!(bodies(&open(&directory), "x"), ["b"]);
        let aside = segment.with_extension("log.damaged");
        assert_eq!(std::fs::read(aside).unwrap(), rest, "what was cut off is put aside");
    }
}

#[test]
fn a_segment_that_was_hardly_begun_is_nobodys() {
    let directory = tempfile::tempdir().unwrap();
    append(&open(&directory), vec![incoming("a", &["x"], NEVER)]);
    std::fs::write(directory.path().join("00000000000000000007.log"), [1, 2, 3]).unwrap();
    let store = open(&directory);
    append(&store, vec![incoming("b", &["x"], NEVER)]);
    assert_eq!(bodies(&store, "x"), ["a", "b"]);
    assert_eq!(segments(&directory).len(), 1);
}

#[test]
fn expired_messages_are_passed_over_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    append(&store, vec![incoming("old", &["x"], 50), incoming("new", &["x"], NEVER)]);
    let batch = store.take(&"x".into(), 10, 50).unwrap();
    assert_eq!((batch.messages.len(), batch.expired), (1, 1));
    assert_eq!(store.lengths(), [(key("x", 0), 1)]);
}

#[test]
fn segments_in_which_all_has_expired_are_removed_though_nobody_comes() {
    let files = Arc::new(Memory::default());
    let store = Store::on(Arc::clone(&files) as _, Durability::Process, SMALL).unwrap();
    for number in 0..50 {
        append(&store, vec![incoming(&number.to_string(), &["x"], 50)]);
    }
    append(&store, vec![incoming("kept", &["x"], NEVER)]);
    let before = files.names().unwrap().len();
    let expired = store.sweep(50);
    assert!(expired > 40 && files.names().unwrap().len() < before / 2, "{expired} of {before}");
    assert_eq!(bodies(&store, "x").last().map(String::as_str), Some("kept"));
    drop(store);
    let store = Store::on(files, Durability::Process, SMALL).unwrap();
    assert_eq!(bodies(&store, "x"), ["kept"]);
}

#[test]
fn the_more_urgent_queue_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    append(&store, vec![incoming("later", &["x"], NEVER)]);
    let urgent = incoming("urgent", &["x"], NEVER);
    let mut slow = incoming("slow", &["x"], NEVER);
    slow.targets[0].queue.priority = 9;
    append(&store, vec![slow, urgent]);
    let batch = store.take(&"x".into(), 10, 100).unwrap();
    assert_eq!((batch.queue, batch.messages.len()), (Some(key("x", 0)), 2));
    let batch = store.take(&"x".into(), 10, 100).unwrap();
    assert_eq!((batch.queue, batch.messages.len()), (Some(key("x", 9)), 1));
}

#[test]
fn segments_that_nobody_wants_are_removed_also_behind_one_that_somebody_wants() {
    let files = Arc::new(Memory::default());
    let store = Store::on(Arc::clone(&files) as _, Durability::Process, SMALL).unwrap();
    append(&store, vec![incoming("first", &["away", "x"], NEVER)]);
    for number in 0..100 {
        append(&store, vec![incoming(&number.to_string(), &["x"], NEVER)]);
        let batch = store.take(&"x".into(), 10, 100).unwrap();
        store.complete(&key("x", 0), batch.messages.last().unwrap().offset).unwrap();
    }
    let logs = files.names().unwrap().iter().filter(|name| ends(name, "log")).count();
    assert!(logs <= 3, "{logs}");
    drop(store);
    let store = Store::on(files, Durability::Process, SMALL).unwrap();
    assert_eq!((bodies(&store, "away"), bodies(&store, "x").len()), (vec!["first".to_owned()], 0));
}

#[test]
fn an_index_that_is_missing_is_made_anew() {
    let files = Arc::new(Memory::default());
    let store = Store::on(Arc::clone(&files) as _, Durability::Process, SMALL).unwrap();
    for number in 0..60 {
        append(&store, vec![incoming(&number.to_string(), &["x"], NEVER)]);
    }
    let all = bodies(&store, "x");
    drop(store);
    let indices: Vec<_> = files.names().unwrap().into_iter().filter(|name| ends(name, "index")).collect();
    assert!(indices.len() > 3);
    for name in &indices {
        files.remove(name).unwrap();
    }
    let store = Store::on(files, Durability::Process, SMALL).unwrap();
    assert_eq!(bodies(&store, "x"), all);
}

#[test]
fn a_damaged_segment_loses_its_own_messages_alone() {
    let files = Arc::new(Memory::default());
    let store = Store::on(Arc::clone(&files) as _, Durability::Process, SMALL).unwrap();
    for number in 0..30 {
        append(&store, vec![incoming(&number.to_string(), &["x"], NEVER)]);
    }
    let last = "29".to_owned();
    drop(store);
    let name = files.names().unwrap().into_iter().find(|name| ends(name, "log")).unwrap();
    let file = files.open(&name).unwrap();
    file.truncate(40).unwrap();
    let store = Store::on(files, Durability::Process, SMALL).unwrap();
    let left = bodies(&store, "x");
    assert!(left.len() > 15 && left.len() < 30 && left.contains(&last), "{left:?}");
    assert_eq!(store.lengths(), [(key("x", 0), left.len())]);
    let batch = store.take(&"x".into(), 1000, 100).unwrap();
    store.complete(&key("x", 0), batch.messages.last().unwrap().offset).unwrap();
}

/// Files that fail when they are told to.
#[derive(Default)]
struct Faulty {
    inner: Memory,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// So many more bytes can be written.
    room: AtomicU64,
    truncate: AtomicBool,
    sync: AtomicBool,
}

struct FaultyFile {
    inner: Arc<dyn Appendable>,
    faults: Arc<Faults>,
}

fn fault(happens: &AtomicBool) -> io::Result<()> {
    if happens.load(Ordering::SeqCst) { Err(io::Error::other("a fault")) } else { Ok(()) }
}

impl Files for Faulty {
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
        let inner = self.inner.open(name)?;
        Ok(Arc::new(FaultyFile { inner, faults: Arc::clone(&self.faults) }))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        fault(&self.faults.sync)
    }
}

impl Appendable for FaultyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let room = self.faults.room.load(Ordering::SeqCst);
        let written = bytes.len().min(room as usize);
        self.faults.room.fetch_sub(written as u64, Ordering::SeqCst);
        self.inner.append(&bytes[..written])?;
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        fault(&self.faults.truncate)?;
        self.inner.truncate(length)
    }
    fn sync(&self) -> io::Result<()> {
        fault(&self.faults.sync)
    }
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }
}

fn faulty() -> (Arc<Faulty>, Arc<Faults>) {
    let files = Arc::new(Faulty::default());
    let faults = Arc::clone(&files.faults);
    faults.room.store(NEVER, Ordering::SeqCst);
    (files, faults)
}

#[test]
fn a_full_disk_and_a_short_write_are_no_acknowledgement_and_do_no_harm() {
    for (room, cannot_truncate) in [(0, false), (10, false), (10, true), (150, true)] {
        let (files, faults) = faulty();
        let store = Store::on(Arc::clone(&files) as _, Durability::Process, SMALL).unwrap();
        append(&store, vec![incoming("a", &["x"], NEVER)]);
        faults.room.store(room, Ordering::SeqCst);
        faults.truncate.store(cannot_truncate, Ordering::SeqCst);
        for _ in 0..3 {
            let refused = block_on(store.append(vec![incoming(&"lost".repeat(60), &["x"], NEVER)]));
            assert!(matches!(refused, Err(StoreError::Log(_))), "{refused:?}");
        }
        assert_eq!(bodies(&store, "x"), ["a"]);
        faults.room.store(NEVER, Ordering::SeqCst);
        append(&store, vec![incoming("b", &["x"], NEVER)]);
        assert_eq!(bodies(&store, "x"), ["a", "b"]);
        // As after a crash: nothing is told to the log at the end.
        std::mem::forget(store);
        faults.truncate.store(false, Ordering::SeqCst);
        let store = Store::on(files, Durability::Process, SMALL).unwrap();
        append(&store, vec![incoming("c", &["x"], NEVER)]);
        assert_eq!(bodies(&store, "x"), ["a", "b", "c"], "room for {room}, {cannot_truncate}");
    }
}

#[test]
fn a_failed_sync_is_no_acknowledgement_and_what_follows_stands_elsewhere() {
    let (files, faults) = faulty();
    let store = Store::on(Arc::clone(&files) as _, Durability::Power, SMALL).unwrap();
    append(&store, vec![incoming("a", &["x"], NEVER)]);
    faults.sync.store(true, Ordering::SeqCst);
    let refused = block_on(store.append(vec![incoming("in doubt", &["x"], NEVER)]));
    assert!(matches!(refused, Err(StoreError::NotSynced)), "{refused:?}");
    let logs = |files: &Faulty| files.names().unwrap().iter().filter(|name| ends(name, "log")).count();
    assert_eq!(logs(&files), 1);
    faults.sync.store(false, Ordering::SeqCst);
    append(&store, vec![incoming("b", &["x"], NEVER)]);
    assert_eq!(logs(&files), 2);
    let kept = bodies(&store, "x");
    assert_eq!((kept.first().map(String::as_str), kept.last().map(String::as_str)), (Some("a"), Some("b")));
}

#[test]
fn those_who_wait_for_a_sync_share_it() {
    struct Counting(Memory, Arc<AtomicU64>);
    struct CountingFile(Arc<dyn Appendable>, Arc<AtomicU64>);
    impl Files for Counting {
        fn names(&self) -> io::Result<Vec<String>> {
            self.0.names()
        }
        fn open(&self, name: &str) -> io::Result<Arc<dyn Appendable>> {
            Ok(Arc::new(CountingFile(self.0.open(name)?, Arc::clone(&self.1))))
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
        fn sync_names(&self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Appendable for CountingFile {
        fn append(&self, bytes: &[u8]) -> io::Result<()> {
            self.0.append(bytes)
        }
        fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
            self.0.read_at(buffer, position)
        }
        fn truncate(&self, length: u64) -> io::Result<()> {
            self.0.truncate(length)
        }
        fn sync(&self) -> io::Result<()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        fn length(&self) -> io::Result<u64> {
            self.0.length()
        }
    }
    let syncs = Arc::new(AtomicU64::new(0));
    let files = Arc::new(Counting(Memory::default(), Arc::clone(&syncs)));
    let store = Arc::new(Store::on(files, Durability::Power, Bounds::of(Durability::Power)).unwrap());
    block_on(async {
        let mut appends = tokio::task::JoinSet::new();
        for number in 0..20 {
            let store = Arc::clone(&store);
            appends.spawn(async move { store.append(vec![incoming(&number.to_string(), &["x"], NEVER)]).await });
        }
        while let Some(appended) = appends.join_next().await {
            appended.unwrap().unwrap();
        }
    });
    // All twenty write before the first of them gets to sync: one for the first, perhaps one for the rest.
    assert!(syncs.load(Ordering::SeqCst) <= 3, "{syncs:?}");
}

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
        let newest = self.files.names().unwrap().into_iter().filter(|name| ends(name, "log")).max();
        if let Some(newest) = newest {
            self.files.open(&newest).unwrap().append(&vec![9; torn]).unwrap();
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
