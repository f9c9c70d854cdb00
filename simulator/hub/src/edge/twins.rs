//! Twins at the edge: a copy of each client's twin, reported patches that the cloud hub does not have yet, and what a
//! change of desired properties means for a client.
//!
//! The rules are those of the real hub: reading asks the cloud first and falls back to the copy; a reported patch is
//! kept here, acknowledged, and handed on when the cloud can be reached; a desired patch that is not the next one makes
//! the hub read the whole twin and tell the client the difference.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgectl_schemas::ids::Identity;
use edgectl_schemas::twin;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::documents::{Documents, DocumentsError, Table};
use crate::edge::metrics::{EDGE_HUB, Metrics};
use crate::edge::upstream::Upstream;
use crate::gateway::Refusal;

const TABLE: Table = Table::new("twins");

/// What is kept of a client's twin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Copy {
    desired: Map<String, Value>,
    reported: Map<String, Value>,
    /// Reported changes that the cloud hub has not taken yet, nulls included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Value>,
}

impl Copy {
    fn version(&self) -> Option<u64> {
        version(&self.desired)
    }
}

/// The twins of all clients of this hub.
pub struct Twins {
    documents: Arc<Documents>,
    upstream: Arc<Upstream>,
    metrics: Arc<Metrics>,
    /// One change at a time, since each reads before it writes.
    changing: Mutex<HashMap<Identity, Changes>>,
}

/// How often the sections of a copy changed since the hub runs. Who reads a twin from the cloud looks before and after:
/// what changed meanwhile is newer than what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Changes {
    desired: u64,
    reported: u64,
    /// The client asked for its twin, or for changes of it, when nothing was known of it.
    is_owed_all: bool,
}

/// A twin as the cloud has it, with what was known when it was asked for.
struct Pulled {
    document: Value,
    before: Changes,
}

impl Twins {
    /// Keeps copies in `documents` and reaches the cloud through `upstream`.
    pub fn new(documents: Arc<Documents>, upstream: Arc<Upstream>, metrics: Arc<Metrics>) -> Self {
        Self { documents, upstream, metrics, changing: Mutex::default() }
    }

    /// The twin of a client: the cloud's if it can be reached, else the copy, else an empty one.
    pub async fn get(&self, identity: &Identity) -> Result<Value, Refusal> {
        let start_ms = self.metrics.registry.now_ms();
        let copy = match self.pull(identity).await {
            Ok(pulled) => self.store_pulled(identity, pulled).map_err(|error| unavailable(&error))?.1,
            Err(_) => {
                let copy = self.copy(identity).map_err(|error| unavailable(&error))?;
                if copy.version().is_none() {
                    self.owe_all(identity);
                }
                self.metrics.read_twin(EDGE_HUB, identity, start_ms);
                copy
            }
        };
        Ok(json!({ "desired": versioned(copy.desired), "reported": versioned(copy.reported) }))
    }

    /// Whether anything is known of the desired properties of a client. What changes them can be told only if that is so.
    pub fn knows(&self, identity: &Identity) -> bool {
        self.copy(identity).is_ok_and(|copy| copy.version().is_some())
    }

    /// Remembers that a client has seen nothing, or an empty twin, and is to be told of all that there is.
    pub fn owe_all(&self, identity: &Identity) {
        self.lock().entry(identity.clone()).or_default().is_owed_all = true;
    }

    /// Checks a patch of reported properties.
    pub fn check(patch: &Value) -> Result<(), Refusal> {
        twin::validate_section(patch).map_err(|error| Refusal::Invalid(error.to_string()))
    }

    /// Merges a reported patch into the copy and remembers it for the cloud hub.
    pub fn report(&self, identity: &Identity, patch: &Value) -> Result<(), Refusal> {
        Self::check(patch)?;
        let change = |copy: &mut Copy, _| {
            copy.reported = merged(std::mem::take(&mut copy.reported), patch, true);
            copy.pending = Some(match &copy.pending {
                None => patch.clone(),
                Some(pending) => twin::merge(pending, patch, false),
            });
        };
        self.change(identity, change).map_err(|error| unavailable(&error))
    }

    /// Hands what is pending of a client to the cloud hub. Returns whether nothing is pending any more.
    pub async fn push_reported(&self, identity: &Identity) -> Result<bool, Refusal> {
        let Some(pending) = self.copy(identity).map_err(|error| unavailable(&error))?.pending else { return Ok(true) };
        match self.upstream.report(identity, pending.clone()).await {
            // A patch that the cloud will never take must not block those after it.
            Ok(_) | Err(Refusal::Invalid(_) | Refusal::TooLarge { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
        let change = |copy: &mut Copy, _| {
            // What was reported meanwhile repeats what was just sent, which does no harm, and adds what is new.
            let done = copy.pending.as_ref() == Some(&pending);
            if done {
                copy.pending = None;
            }
            done
        };
        self.change(identity, change).map_err(|error| unavailable(&error))
    }

    /// Forgets the twin of a client that was removed.
    pub fn forget(&self, identity: &Identity) -> Result<(), DocumentsError> {
        let mut all = self.lock();
        all.remove(identity);
        self.documents.remove(TABLE, &identity.to_string())
    }

    /// The clients whose reported properties the cloud hub does not have in full.
    pub fn pending(&self) -> Result<Vec<Identity>, DocumentsError> {
        let copies: Vec<(String, Copy)> = self.documents.all(TABLE)?;
        Ok(copies
            .into_iter()
            .filter(|(_, copy)| copy.pending.is_some())
            .filter_map(|(key, _)| Identity::parse(&key).ok())
            .collect())
    }

    /// Takes a desired patch from the cloud hub. Returns what the client is to be told, if anything.
    pub async fn desired_changed(&self, identity: &Identity, patch: Value) -> Result<Option<Value>, Refusal> {
        let new = patch.get("$version").and_then(Value::as_u64);
        let change = |copy: &mut Copy, _| {
            let known = copy.version();
            if known.is_some() && known.map(|known| known + 1) == new {
                copy.desired = merged(std::mem::take(&mut copy.desired), &patch, true);
            }
            known
        };
        match (self.change(identity, change).map_err(|error| unavailable(&error))?, new) {
            (Some(known), Some(new)) if new <= known => Ok(None),
            (Some(known), Some(new)) if new == known + 1 => Ok(Some(patch)),
            (None, _) => {
                if let Some(all) = self.resynchronise(identity).await? {
                    return Ok(Some(all));
                }
                // What was read may hold later changes, whose notices will be passed over.
                let copy = self.copy(identity).map_err(|error| unavailable(&error))?;
                Ok(Some(if copy.version() > new { Value::Object(copy.desired) } else { patch }))
            }
            (Some(_), _) => self.resynchronise(identity).await,
        }
    }

    /// The desired properties as they were last seen; none if the client's twin was never read.
    pub fn desired(&self, identity: &Identity) -> Result<Option<Value>, DocumentsError> {
        let copy = self.copy(identity)?;
        Ok(copy.version().map(|_| Value::Object(copy.desired)))
    }

    /// Reads the whole twin from the cloud hub. Returns the difference that the client is to be told, if there is one
    /// and the twin was known before, or all of it to a client that has seen nothing of it.
    pub async fn resynchronise(&self, identity: &Identity) -> Result<Option<Value>, Refusal> {
        let pulled = self.pull(identity).await?;
        let (before, after) = self.store_pulled(identity, pulled).map_err(|error| unavailable(&error))?;
        if before.version().is_none() {
            let mut all = self.lock();
            let is_owed_all = all.get_mut(identity).is_some_and(|changes| std::mem::take(&mut changes.is_owed_all));
            return Ok(is_owed_all.then_some(Value::Object(after.desired)));
        }
        if after.version() == before.version() {
            return Ok(None);
        }
        let version = after.desired.get("$version").cloned();
        let mut patch = twin::diff(&Value::Object(before.desired), &Value::Object(after.desired));
        if let (Value::Object(members), Some(version)) = (&mut patch, version) {
            members.insert("$version".into(), version);
        }
        Ok(Some(patch))
    }

    async fn pull(&self, identity: &Identity) -> Result<Pulled, Refusal> {
        let before = self.lock().get(identity).copied().unwrap_or_default();
        Ok(Pulled { document: self.upstream.twin(identity).await?, before })
    }

    /// Keeps what was read, except where the copy is newer. Returns the copy before and after.
    fn store_pulled(&self, identity: &Identity, pulled: Pulled) -> Result<(Copy, Copy), DocumentsError> {
        let Value::Object(mut document) = pulled.document else {
            let copy = self.copy(identity)?;
            return Ok((copy.clone(), copy));
        };
        let mut section = |name: &str| match document.remove(name) {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let (desired, reported) = (section("desired"), section("reported"));
        self.change(identity, |copy, changes| {
            let before = copy.clone();
            // A lower version that is not stale is that of a twin that was made anew.
            if changes.desired == pulled.before.desired || version(&desired) >= version(&copy.desired) {
                copy.desired = desired;
            }
            if changes.reported == pulled.before.reported {
                copy.reported = match &copy.pending {
                    None => reported,
                    Some(pending) => merged(reported, pending, true),
                };
            }
            (before, copy.clone())
        })
    }

    fn copy(&self, identity: &Identity) -> Result<Copy, DocumentsError> {
        Ok(self.documents.get(TABLE, &identity.to_string())?.unwrap_or_default())
    }

    fn change<T>(
        &self,
        identity: &Identity,
        change: impl FnOnce(&mut Copy, Changes) -> T,
    ) -> Result<T, DocumentsError> {
        let mut all = self.lock();
        let changes = all.entry(identity.clone()).or_default();
        let before = self.copy(identity)?;
        let mut copy = before.clone();
        let result = change(&mut copy, *changes);
        if copy != before {
            self.documents.put(TABLE, &identity.to_string(), &copy)?;
            changes.desired += u64::from(copy.desired != before.desired);
            changes.reported += u64::from(copy.reported != before.reported || copy.pending != before.pending);
        }
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Changes>> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(section: &Map<String, Value>) -> Option<u64> {
    section.get("$version")?.as_u64()
}

fn merged(base: Map<String, Value>, patch: &Value, null_deletes: bool) -> Map<String, Value> {
    match twin::merge(&Value::Object(base), patch, null_deletes) {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Clients count on a version being there, also in a twin that the cloud never had.
fn versioned(mut section: Map<String, Value>) -> Value {
    section.entry("$version").or_insert_with(|| json!(0));
    Value::Object(section)
}

fn unavailable(error: &DocumentsError) -> Refusal {
    Refusal::Unavailable(error.to_string())
}
