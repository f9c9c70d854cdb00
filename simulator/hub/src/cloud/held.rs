//! A table of documents that is held in memory beside its copy on disk, so that all of it can be gone through at once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::documents::{Batch, Documents, DocumentsError, Table};

/// Documents by key, in the order of the keys.
pub struct Held<T> {
    documents: Arc<Documents>,
    table: Table,
    all: RwLock<BTreeMap<String, Arc<T>>>,
}

impl<T: Serialize + DeserializeOwned> Held<T> {
    /// Loads what is kept.
    pub fn open(documents: Arc<Documents>, table: Table) -> Result<Self, DocumentsError> {
        let kept = documents.all::<T>(table)?;
        let all = kept.into_iter().map(|(key, document)| (key, Arc::new(document))).collect();
        Ok(Self { documents, table, all: RwLock::new(all) })
    }

    /// The document of a key.
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.read().get(key).cloned()
    }

    /// All documents.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.read().values().cloned().collect()
    }

    /// All documents with their keys.
    pub fn entries(&self) -> Vec<(String, Arc<T>)> {
        self.read().iter().map(|(key, document)| (key.clone(), Arc::clone(document))).collect()
    }

    /// The documents whose keys begin so.
    pub fn beginning(&self, prefix: &str) -> Vec<Arc<T>> {
        let all = self.read();
        let from = all.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, document)| Arc::clone(document)).collect()
    }

    /// The first keys, at most so many.
    pub fn keys(&self, count: usize) -> Vec<String> {
        self.read().keys().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.read().len()
    }

    /// Puts documents in place of what their keys had; none removes. All of it happens or, on an error, nothing, and when
    /// this returns it is on disk.
    pub fn write(&self, changes: impl IntoIterator<Item = (String, Option<T>)>) -> Result<(), DocumentsError> {
        let mut batch = Batch::default();
        let changes: Vec<(String, Option<Arc<T>>)> =
            changes.into_iter().map(|(key, document)| (key, document.map(Arc::new))).collect();
        for (key, document) in &changes {
            match document {
                Some(document) => batch.put(self.table, key, document.as_ref()),
                None => batch.remove(self.table, key),
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        // Readers see the old ones until the new ones are safe; writers come one after the other.
        self.documents.write(batch)?;
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        for (key, document) in changes {
            match document {
                Some(document) => all.insert(key, document),
                None => all.remove(&key),
            };
        }
        Ok(())
    }

    /// Puts one document in place of what its key had.
    pub fn put(&self, key: &str, document: T) -> Result<(), DocumentsError> {
        self.write([(key.to_owned(), Some(document))])
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<T>>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}
