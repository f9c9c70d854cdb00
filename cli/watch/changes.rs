//! Waiting until something changed on disk. The kernel says only that it is time to look; what changed is told by
//! comparing what is there with what was, so that a lost or doubled notice does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::tree::{DirectoryStamp, Tree};
use crate::error::CommandError;

/// Files are looked at when nothing changed for so long: editors and tools write several at once.
const QUIET: Duration = Duration::from_millis(100);
/// They are looked at after so long even if something goes on writing.
const LONGEST: Duration = Duration::from_secs(2);

/// The files of a solution, as they were when they were last looked at.
pub struct Changes {
    roots: Vec<PathBuf>,
    always: Vec<PathBuf>,
    tree: Tree,
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, DirectoryStamp>,
    noticed: Arc<Notify>,
}

impl Changes {
    /// Follows all that is written by hand below `roots`, and the files `always`. What is there now is no change.
    pub fn follow(roots: Vec<PathBuf>, always: Vec<PathBuf>) -> Result<Self, CommandError> {
        let noticed = Arc::new(Notify::new());
        let notice = Arc::clone(&noticed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that notices were lost, so it is time to look as well.
            if event.is_ok_and(|event| is_reading(event.kind)) {
                return;
            }
            notice.notify_one();
        });
        let watcher = watcher.map_err(not_watched)?;
        let (tree, watched) = (Tree::default(), BTreeMap::new());
        let mut changes = Self { roots, always, tree, watcher, watched, noticed };
        changes.look()?;
        Ok(changes)
    }

    /// Follows other roots and files from now on. What is new among them is no change.
    pub fn refocus(&mut self, roots: Vec<PathBuf>, always: Vec<PathBuf>) -> Result<(), CommandError> {
        if (&self.roots, &self.always) == (&roots, &always) {
            return Ok(());
        }
        let known = std::mem::take(&mut self.tree);
        (self.roots, self.always) = (roots, always);
        self.look()?;
        // What was followed already may have changed meanwhile: that is still to be told.
        self.tree.restore(known, &self.roots, &self.always);
        Ok(())
    }

    /// Waits until something changed, and until it is quiet again. Returns the files that were written, came or went.
    pub async fn next(&mut self) -> Result<BTreeSet<PathBuf>, CommandError> {
        loop {
            let changed = self.look()?;
            if !changed.is_empty() {
                return Ok(changed);
            }
            self.noticed.notified().await;
            let deadline = Instant::now() + LONGEST;
            while timeout(QUIET, self.noticed.notified()).await.is_ok() && Instant::now() < deadline {}
        }
    }

    /// What changed since the last look. Directories that came are watched first, so that nothing in them is missed.
    fn look(&mut self) -> Result<BTreeSet<PathBuf>, CommandError> {
        loop {
            let tree = Tree::scan(&self.roots, &self.always);
            if !self.watch(&tree)? {
                let changed = self.tree.differences(&tree);
                self.tree = tree;
                return Ok(changed);
            }
        }
    }

    /// Watches the directories of a tree; whether any of them was not watched before.
    fn watch(&mut self, tree: &Tree) -> Result<bool, CommandError> {
        let stale = self.watched.iter().filter(|(path, stamp)| tree.directories.get(*path) != Some(stamp));
        let stale: Vec<PathBuf> = stale.map(|(path, _)| path.clone()).collect();
        for path in stale {
            // A directory that went took its watch along.
            let _ = self.watcher.unwatch(&path);
            self.watched.remove(&path);
        }
        let mut any = false;
        for (path, stamp) in &tree.directories {
            if self.watched.contains_key(path) {
                continue;
            }
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => any = self.watched.insert(path.clone(), *stamp).is_none() || any,
                // It went again; the directory above it tells.
                Err(_) if !path.is_dir() => {}
                Err(error) => return Err(not_watched(error)),
            }
        }
        Ok(any)
    }
}

/// Whether somebody only read: the look itself does.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

fn not_watched(error: notify::Error) -> CommandError {
    let message = CommandError::failed(format!("the files of the solution cannot be watched: {error}"));
    match error.kind {
        ErrorKind::MaxFilesWatch => message.hint("Allow more: sudo sysctl fs.inotify.max_user_watches=524288"),
        _ => message,
    }
}
