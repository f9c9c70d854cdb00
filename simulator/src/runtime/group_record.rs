//! The process groups that are running, in a file, so that the next simulator can end what a killed one left.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::runtime::process_group::{self, ProcessFacts};

/// A variable that every module has, with a value that no other module of any device has.
pub(super) const MARK: &str = "IOTEDGE_WORKLOADURI";

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    boot_id: String,
    groups: BTreeMap<String, Group>,
}

/// A group by its leader.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Group {
    leader: u32,
    session: u32,
    started: u64,
    /// The value of [`MARK`] in the environment of its processes, which those have too that left the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
}

impl Group {
    /// Whether a group of that number is still the one that was recorded. A number may have been given to another
    /// process meanwhile, which then was started at another time, or belongs to another session.
    fn is_alive(&self) -> bool {
        let ours = |process: &ProcessFacts| process.session == self.session && process.started >= self.started;
        let is_another = process_group::facts(self.leader).is_some_and(|leader| leader.started != self.started);
        !is_another && process_group::members(self.leader).iter().any(ours)
    }
}

/// Ends the process groups that an earlier simulator recorded in the file and left running, and removes the file.
/// Returns the names of the modules whose processes were killed.
///
/// Call it before a runtime is opened on the same file, and while no other simulator uses it. A file that cannot be
/// understood is removed: nothing can be known from it. Where the kernel has no `/proc` nothing is recorded.
pub fn sweep_leftovers(path: &Path) -> io::Result<Vec<String>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let record: Record = serde_json::from_slice(&text).unwrap_or_default();
    let mut killed = Vec::new();
    if record.boot_id == process_group::boot_id() {
        for (module, group) in record.groups {
            let is_alive = group.is_alive();
            if is_alive {
                process_group::signal(group.leader, Signal::KILL)?;
            }
            let stray = group.mark.map_or(0, |mark| process_group::kill_marked(MARK, mark.as_ref()));
            if is_alive || stray > 0 {
                killed.push(module);
            }
        }
    }
    fs::remove_file(path)?;
    Ok(killed)
}

/// The file of a running simulator.
#[derive(Debug)]
pub(super) struct GroupRecord {
    path: PathBuf,
    groups: Mutex<BTreeMap<String, Group>>,
}

impl GroupRecord {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, groups: Mutex::default() }
    }

    /// Records the group of a module that was just started.
    pub(super) fn add(&self, module: &str, leader: u32, mark: Option<String>) -> io::Result<()> {
        let Some(facts) = process_group::facts(leader) else { return Ok(()) };
        let group = Group { leader, session: facts.session, started: facts.started, mark };
        self.change(|groups| groups.insert(module.to_owned(), group))
    }

    /// Forgets the group of a module that ended.
    pub(super) fn remove(&self, module: &str) -> io::Result<()> {
        self.change(|groups| groups.remove(module))
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Group>) -> Option<Group>) -> io::Result<()> {
        // A map is never half changed.
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut groups);
        let record = Record { boot_id: process_group::boot_id(), groups: groups.clone() };
        let temporary = self.path.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(&record)?)?;
        fs::rename(&temporary, &self.path)
    }
}
