//! The store as a whole: what it finds again, what it forgets, and what failing files do to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;

use super::durability::Durability;
use super::files::{Appendable, Files, Memory};
use super::record::{QueueKey, Target};
use super::segment::{bases, index_name, log_name};
use super::store::{Bounds, Incoming, Store, StoreError};
use crate::message::Message;

pub(super) const NEVER: u64 = u64::MAX;
/// So small that a few messages make a segment, and fewer are kept in memory.
pub(super) const SMALL: Bounds =
    Bounds { segment_bytes: 600, memory_bytes: 2000, queue_memory_bytes: 700, limit_bytes: None };

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

pub(super) fn key(endpoint: &str, priority: u32) -> QueueKey {
    QueueKey { endpoint: endpoint.into(), priority }
}

fn incoming(body: &str, queues: &[&str], expires_ms: u64) -> Incoming {
    let targets = queues.iter().map(|queue| Target { queue: key(queue, 0), expires_ms }).collect();
    Incoming { message: Arc::new(Message::new(body.to_owned())), enqueued_ms: 1, targets }
}

fn open(directory: &TempDir) -> Store {
    Store::open(directory.path(), Durability::Process).unwrap()
}

pub(super) fn append(store: &Store, messages: Vec<Incoming>) {
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

/// The names of segments, oldest first.
fn logs(files: &dyn Files) -> Vec<String> {
    bases(files).unwrap().into_iter().map(log_name).collect()
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
    for rest in [&[40, 0, 0, 0, 1, 2][..], &[7], &[0, 0, 3], &[0; 300]] {
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
        let name = segment.with_extension("log.damaged");
        let aside = std::fs::read(&name).ok();
        // Zeros are room that was made in advance.
        let is_damage = rest.iter().any(|byte| *byte != 0);
        assert_eq!(aside.as_deref(), is_damage.then_some(rest), "what was cut off is put aside");
        if is_damage {
            std::fs::remove_file(name).unwrap();
        }
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
    assert_eq!((batch.messages.len(), batch.expired.len()), (1, 1));
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
    let swept = store.sweep(50);
    let expired = swept.messages.len() + swept.unread;
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
    assert!(logs(files.as_ref()).len() <= 3, "{:?}", files.names());
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
    let indices: Vec<_> = bases(files.as_ref()).unwrap().into_iter().map(index_name).collect();
    let indices: Vec<_> = indices.into_iter().filter(|name| files.names().unwrap().contains(name)).collect();
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
    let name = logs(files.as_ref()).swap_remove(0);
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
    fn append(&self, bytes: &[u8], end: u64) -> io::Result<()> {
        let room = self.faults.room.load(Ordering::SeqCst);
        let written = bytes.len().min(room as usize);
        self.faults.room.fetch_sub(written as u64, Ordering::SeqCst);
        self.inner.append(&bytes[..written], end)?;
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

    assert_eq!(logs(files.as_ref()).len(), 1);
    faults.sync.store(false, Ordering::SeqCst);
    append(&store, vec![incoming("b", &["x"], NEVER)]);
    assert_eq!(logs(files.as_ref()).len(), 2);
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
        fn append(&self, bytes: &[u8], end: u64) -> io::Result<()> {
            self.0.append(bytes, end)
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
