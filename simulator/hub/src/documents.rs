//! Small JSON documents on disk, by table and key: twins, registrations, sessions. One file, whole after any crash.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table of documents.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    name: &'static str,
}

impl Table {
    /// The table of that name; it is made when first written to.
    pub const fn new(name: &'static str) -> Self {
        Self { name }
    }

    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name)
    }
}

/// Documents could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The file cannot be used: damaged, locked by another process, on a full disk.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A document is not what was written.
    #[error("{path}: {table}/{key} is damaged: {reason}")]
    Document {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// The documents of one hub. Every write is on disk when it returns.
pub struct Documents {
    path: PathBuf,
    /// None as long as it cannot be opened again after it could not be written.
    database: RwLock<Option<Database>>,
}

impl Documents {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, DocumentsError> {
        Ok(Self { path: path.to_owned(), database: RwLock::new(Some(open(path)?)) })
    }

    /// Documents that are forgotten when they are dropped.
    pub fn in_memory() -> Result<Self, DocumentsError> {
        let path = PathBuf::from("memory");
        let mut builder = Database::builder();
        // What is in memory need not be kept there twice.
        builder.set_cache_size(0);
        let database = builder.create_with_backend(InMemoryBackend::new());
        let database =
            database.map_err(|error| DocumentsError::File { path: path.clone(), reason: error.to_string() })?;
        Ok(Self { path, database: RwLock::new(Some(database)) })
    }

    /// Does some work. After one write that failed the database refuses everything until it is opened again, be it that the
    /// disk has room again; so it is opened again, and the work tried once more.
    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, DocumentsError> {
        let attempt = |database: &Option<Database>| match database.as_ref().map(&work) {
            None | Some(Err(redb::Error::PreviousIo)) => None,
            Some(outcome) => Some(outcome.map_err(|error| file_error(&self.path, &error))),
        };
        if let Some(outcome) = attempt(&self.database.read().unwrap_or_else(PoisonError::into_inner)) {
            return outcome;
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been here first.
        if let Some(outcome) = attempt(&database) {
            return outcome;
        }
        // Closed first: a file is open once.
        *database = None;
        let opened = open(&self.path)?;
        let outcome = work(&opened).map_err(|error| file_error(&self.path, &error));
        *database = Some(opened);
        outcome
    }

    /// The document of a key.
    pub fn get<T: DeserializeOwned>(&self, table: Table, key: &str) -> Result<Option<T>, DocumentsError> {
        let bytes = self.with(|database| -> Result<Option<Vec<u8>>, redb::Error> {
            match database.begin_read()?.open_table(table.definition()) {
                Ok(table) => Ok(table.get(key)?.map(|bytes| bytes.value().to_vec())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?;
        bytes.map(|bytes| self.decode(table, key, &bytes)).transpose()
    }

    /// All documents of a table, by key.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<(String, T)>, DocumentsError> {
        let all = self.with(|database| -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let opened = match database.begin_read()?.open_table(table.definition()) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut all = Vec::new();
            for entry in opened.iter()? {
                let (key, value) = entry?;
                all.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(all)
        })?;
        all.into_iter().map(|(key, bytes)| Ok((key.clone(), self.decode(table, &key, &bytes)?))).collect()
    }

    /// Writes a document.
    pub fn put<T: Serialize>(&self, table: Table, key: &str, document: &T) -> Result<(), DocumentsError> {
        let mut batch = Batch::default();
        batch.put(table, key, document);
        self.write(batch)
    }

    /// Removes a document; nothing happens if there is none.
    pub fn remove(&self, table: Table, key: &str) -> Result<(), DocumentsError> {
        let mut batch = Batch::default();
        batch.remove(table, key);
        self.write(batch)
    }

    /// Writes all changes of a batch, or none.
    pub fn write(&self, batch: Batch) -> Result<(), DocumentsError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            for Change { table, key, document } in &batch.changes {
                let mut table = transaction.open_table(table.definition())?;
                match document {
                    Some(bytes) => table.insert(key.as_str(), bytes.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn decode<T: DeserializeOwned>(&self, table: Table, key: &str, bytes: &[u8]) -> Result<T, DocumentsError> {
        serde_json::from_slice(bytes).map_err(|error| DocumentsError::Document {
            path: self.path.clone(),
            table: table.name,
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn open(path: &Path) -> Result<Database, DocumentsError> {
    // Without the check a damaged page is trusted, and reading it later panics.
    let mut builder = Database::builder();
    builder.set_check_integrity_on_open(true);
    builder.create(path).map_err(|error| DocumentsError::File { path: path.to_owned(), reason: error.to_string() })
}

fn file_error(path: &Path, error: &redb::Error) -> DocumentsError {
    DocumentsError::File { path: path.to_owned(), reason: error.to_string() }
}

/// Changes that belong together.
#[derive(Default)]
pub struct Batch {
    changes: Vec<Change>,
}

struct Change {
    table: Table,
    key: String,
    document: Option<Vec<u8>>,
}

impl Batch {
    /// Adds a document to write.
    pub fn put<T: Serialize>(&mut self, table: Table, key: &str, document: &T) {
        // Our documents are maps with text keys, and those can always be written as JSON.
        let bytes = serde_json::to_vec(document).unwrap_or_default();
        self.changes.push(Change { table, key: key.to_owned(), document: Some(bytes) });
    }

    /// Adds a document to remove.
    pub fn remove(&mut self, table: Table, key: &str) {
        self.changes.push(Change { table, key: key.to_owned(), document: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: Table = Table::new("things");

    #[test]
    fn documents_are_there_after_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("documents");
        let documents = Documents::open(&path).unwrap();
        assert_eq!(documents.get::<u32>(THINGS, "a").unwrap(), None);
        let mut batch = Batch::default();
        batch.put(THINGS, "a", &1);
        batch.put(THINGS, "b", &2);
        documents.write(batch).unwrap();
        documents.remove(THINGS, "a").unwrap();
        drop(documents);
        let documents = Documents::open(&path).unwrap();
        assert_eq!(documents.all::<u32>(THINGS).unwrap(), [("b".to_owned(), 2)]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("documents");
        std::fs::write(&path, "not a database").unwrap();
        let Err(error) = Documents::open(&path) else { panic!("opened") };
        assert!(error.to_string().contains("documents"), "{error}");
    }
}
