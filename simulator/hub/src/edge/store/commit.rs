//! Group commit: those who wait for a sync wait for the same one.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::RuntimeFlavor;

use super::files::{Appendable, Files};

/// All that was written between two syncs.
#[derive(Debug, Default)]
pub struct Commit {
    /// Whether it is on the disk, once that is known.
    is_durable: OnceLock<bool>,
}

/// The syncs of one log.
#[derive(Default)]
pub struct Commits {
    current: Mutex<Arc<Commit>>,
    /// Whoever holds it syncs.
    turn: Arc<tokio::sync::Mutex<()>>,
    begun: Mutex<Begun>,
}

/// Segments that were begun since the last sync.
#[derive(Default)]
struct Begun {
    /// Where.
    files: Option<Arc<dyn Files>>,
    /// Those that were written before them, and are not any more.
    left_behind: Vec<Arc<dyn Appendable>>,
}

impl Commits {
    /// What is written now belongs to this.
    pub fn current(&self) -> Arc<Commit> {
        Arc::clone(&lock(&self.current))
    }

    /// Ends the current commit, and returns it.
    pub fn close(&self) -> Arc<Commit> {
        std::mem::take(&mut *lock(&self.current))
    }

    /// A segment was begun: its name has to be synced, and the segment before it once more.
    pub fn begun(&self, files: Arc<dyn Files>, before: Option<Arc<dyn Appendable>>) {
        let mut begun = lock(&self.begun);
        begun.files = Some(files);
        begun.left_behind.extend(before);
    }

    /// Waits until a commit is on the disk; false if that cannot be known. `close` ends the current commit and tells which
    /// file it was written to.
    pub async fn wait(
        &self,
        commit: &Commit,
        close: impl FnOnce() -> (Arc<Commit>, Option<Arc<dyn Appendable>>),
    ) -> bool {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(is_durable) = commit.is_durable.get() {
            return *is_durable;
        }
        // It is the current one: those before it were synced by who had the turn before.
        let (closed, file) = close();
        let begun = std::mem::take(&mut *lock(&self.begun));
        let sync = move || {
            let names = begun.files.is_none_or(|files| files.sync_names().is_ok());
            let is_durable = names && begun.left_behind.iter().chain(&file).all(|file| file.sync().is_ok());
            let _ = closed.is_durable.set(is_durable);
            drop(turn);
            is_durable
        };
        if tokio::runtime::Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            // To wake another thread and to be woken by it can take as long as the disk does.
            return tokio::task::block_in_place(sync);
        }
        // Whoever waits may be gone before this is done; then it is done all the same, and nobody has the turn meanwhile.
        tokio::task::spawn_blocking(sync).await.unwrap_or(false)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
