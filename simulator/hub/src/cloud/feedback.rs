//! What became of messages to devices, for the service that sent them and asked to be told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::held::Held;
use crate::documents::{Documents, DocumentsError, Table};

const TABLE: Table = Table::new("feedback");
/// Records that are kept; without anyone who fetches them the oldest make room.
const MAX_RECORDS: usize = 10_000;
/// Records in one message.
const MAX_IN_BATCH: usize = 64;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The device took it.
    Success,
    /// Its time was over.
    Expired,
    /// It was delivered too often without success.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// It was removed from the queue.
    Purged,
}

impl Fate {
    /// Whether a sender that asked for such feedback is told: `none`, `positive`, `negative` or `full`.
    pub fn is_told(self, asked: Option<&str>) -> bool {
        match asked.map(str::to_ascii_lowercase).as_deref() {
            Some("full") => true,
            Some("positive") => self == Self::Success,
            Some("negative") => self != Self::Success,
            _ => false,
        }
    }
}

/// A record, in the service's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The message's own identifier.
    pub original_message_id: String,
    /// When its fate was known.
    pub enqueued_time_utc: String,
    /// What became of it.
    pub status_code: Fate,
    /// The same, for people.
    pub description: Fate,
    /// The device.
    pub device_id: DeviceId,
    /// The device's generation.
    pub device_generation_id: String,
}

/// The records that nobody has fetched yet.
pub struct Feedback {
    held: Held<Record>,
    next: AtomicU64,
    /// Those that somebody holds.
    taken: Mutex<BTreeSet<String>>,
    changed: Notify,
}

/// Records that belong to who received them, until they are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    keys: Vec<String>,
    /// The records, oldest first.
    pub records: Vec<Record>,
}

impl Feedback {
    /// Loads what is kept in `documents`.
    pub fn open(documents: Arc<Documents>) -> Result<Self, DocumentsError> {
        let last = documents.all::<Record>(TABLE)?.last().and_then(|(key, _)| key.parse::<u64>().ok());
        let (taken, changed) = Default::default();
        let next = AtomicU64::new(last.map_or(0, |last| last + 1));
        Ok(Self { held: Held::open(documents, TABLE)?, next, taken, changed })
    }

    /// Keeps records. When this returns they are on disk.
    pub fn add(&self, records: Vec<Record>) -> Result<(), DocumentsError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut changes: Vec<(String, Option<Record>)> = records
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
    pub fn take(&self) -> Option<Batch> {
        let mut taken = self.taken();
        let keys = self.held.keys(MAX_IN_BATCH + taken.len());
        let free = keys.into_iter().filter(|key| !taken.contains(key)).take(MAX_IN_BATCH);
        let (keys, records): (Vec<String>, Vec<Record>) =
            free.filter_map(|key| self.held.get(&key).map(|record| (key, Record::clone(&record)))).unzip();
        taken.extend(keys.iter().cloned());
        (!keys.is_empty()).then_some(Batch { keys, records })
    }

    /// Ends a batch: its records are gone, or somebody else may take them.
    pub fn settle(&self, batch: &Batch, received: bool) -> Result<(), DocumentsError> {
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
