//! Records for services that fetch them when they will: what became of messages, which files came.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::held::Held;
use crate::documents::{Documents, DocumentsError, Table};

/// Records that are kept; without anyone who fetches them the oldest make room.
const MAX_RECORDS: usize = 10_000;

/// Records that nobody has fetched yet, oldest first.
pub struct Records<R> {
    held: Held<R>,
    most_in_batch: usize,
    next: AtomicU64,
    /// Those that somebody holds.
    taken: Mutex<BTreeSet<String>>,
    changed: Notify,
}

/// Records that belong to who received them, until they are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<R> {
    keys: Vec<String>,
    /// The records, oldest first.
    pub records: Vec<R>,
}

impl<R: Clone + Serialize + DeserializeOwned> Records<R> {
    /// Loads what is kept in a table of `documents`; so many are taken together.
    pub fn open(documents: Arc<Documents>, table: Table, most_in_batch: usize) -> Result<Self, DocumentsError> {
        let last = documents.all::<R>(table)?.last().and_then(|(key, _)| key.parse::<u64>().ok());
        let (taken, changed) = Default::default();
        let next = AtomicU64::new(last.map_or(0, |last| last + 1));
        Ok(Self { held: Held::open(documents, table)?, most_in_batch, next, taken, changed })
    }

    /// Keeps records. When this returns they are on disk.
    pub fn add(&self, records: Vec<R>) -> Result<(), DocumentsError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut changes: Vec<(String, Option<R>)> = records
            .into_iter()
            .map(|record| (format!("{:020}", self.next.fetch_add(1, Ordering::Relaxed)), Some(record)))
            .collect();
        if self.held.count() >= MAX_RECORDS {
            changes.extend(self.held.keys(changes.len()).into_iter().map(|key| (key, None)));
        }
        self.held.write(changes)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the oldest records that nobody holds; none if there are none.
    pub fn take(&self) -> Option<Batch<R>> {
        let mut taken = self.taken();
        let keys = self.held.keys(self.most_in_batch + taken.len());
        let free = keys.into_iter().filter(|key| !taken.contains(key)).take(self.most_in_batch);
        let (keys, records): (Vec<String>, Vec<R>) =
            free.filter_map(|key| self.held.get(&key).map(|record| (key, R::clone(&record)))).unzip();
        taken.extend(keys.iter().cloned());
        (!keys.is_empty()).then_some(Batch { keys, records })
    }

    /// Ends a batch: its records are gone, or somebody else may take them.
    pub fn settle(&self, batch: &Batch<R>, received: bool) -> Result<(), DocumentsError> {
        if received {
            self.held.write(batch.keys.iter().map(|key| (key.clone(), None)))?;
        }
        self.taken().retain(|key| !batch.keys.contains(key));
        if !received {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits until there may be records to take.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
