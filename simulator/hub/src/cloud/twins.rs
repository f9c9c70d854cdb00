//! Twins as the service has them: tags, desired and reported properties, each with its version.

use std::sync::{Arc, Mutex, PoisonError};

use edgectl_schemas::ids::Identity;
use edgectl_schemas::twin;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::held::Held;
use super::metadata::stamped;
use crate::clock::Clock;
use crate::documents::{Documents, DocumentsError, Table};

const TABLE: Table = Table::new("twins");
/// Bytes of a device's tags, as JSON.
const MAX_TAGS_BYTES: usize = 8 * 1024;

/// The twin of a device or module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// Counts changes of tags and desired properties.
    pub etag: u64,
    /// Counts all changes.
    pub version: u64,
    /// What the service knows of a device.
    pub tags: Map<String, Value>,
    /// What is wanted.
    pub desired: Section,
    /// What is so.
    pub reported: Section,
}

/// One section of a twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// Counts changes.
    pub version: u64,
    /// When it last changed.
    pub last_updated: String,
    /// The properties.
    pub properties: Map<String, Value>,
    /// When each of them last changed, in the service's shape.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

impl Section {
    fn new() -> Self {
        let last_updated = "0001-01-01T00:00:00Z".to_owned();
        Self { version: 1, last_updated, properties: Map::new(), metadata: Map::new() }
    }

    /// As devices see it: the properties with `$version`.
    pub fn for_device(&self) -> Value {
        let mut properties = self.properties.clone();
        properties.insert("$version".into(), json!(self.version));
        Value::Object(properties)
    }

    /// As the service shows it: with `$metadata` as well.
    pub fn for_service(&self) -> Value {
        let mut properties = self.properties.clone();
        let mut metadata = self.metadata.clone();
        metadata.entry("$lastUpdated").or_insert_with(|| json!(self.last_updated));
        properties.insert("$metadata".into(), Value::Object(metadata));
        properties.insert("$version".into(), json!(self.version));
        Value::Object(properties)
    }

    /// Only desired properties are marked with the version of their change.
    fn change(&mut self, properties: Map<String, Value>, now: String, marks_versions: bool) {
        self.version += 1;
        let version = marks_versions.then_some(self.version);
        self.metadata = stamped(&self.metadata, &self.properties, &properties, &now, version);
        self.properties = properties;
        self.last_updated = now;
    }
}

impl Default for Twin {
    fn default() -> Self {
        Self { etag: 1, version: 2, tags: Map::new(), desired: Section::new(), reported: Section::new() }
    }
}

impl Twin {
    /// Changes tags and desired properties. Returns what the client is to be told, if anything.
    fn change(&mut self, change: &Change, now: &str) -> Result<Option<Value>, TwinError> {
        if let Some(tags) = &change.tags {
            self.tags = combined(&self.tags, tags, change.replace)?;
            check_size(&self.tags, MAX_TAGS_BYTES)?;
        }
        let mut told = None;
        if let Some(desired) = &change.desired {
            let old = Value::Object(self.desired.properties.clone());
            let new = combined(&self.desired.properties, desired, change.replace)?;
            check_size(&new, twin::MAX_SECTION_BYTES)?;
            // Null empties the section: who is told only that could not say which properties are gone.
            let mut patch = if change.replace || desired.is_null() {
                twin::diff(&old, &Value::Object(new.clone()))
            } else {
                twin::strip_metadata(desired)
            };
            self.desired.change(new, now.to_owned(), true);
            if let Value::Object(members) = &mut patch {
                members.insert("$version".into(), json!(self.desired.version));
            }
            told = Some(patch);
        }
        self.etag += 1;
        self.version += 1;
        Ok(told)
    }

    /// Its versions.
    pub fn versions(&self) -> Versions {
        Versions { twin: self.version, desired: self.desired.version, reported: self.reported.version }
    }

    /// As devices see it.
    pub fn for_device(&self) -> Value {
        json!({ "desired": self.desired.for_device(), "reported": self.reported.for_device() })
    }
}

/// How often a twin and its sections have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// All of it.
    pub twin: u64,
    /// The desired properties.
    pub desired: u64,
    /// The reported properties.
    pub reported: u64,
}

/// A change of a twin does not happen.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// It was changed meanwhile.
    #[error("the twin was changed meanwhile")]
    Precondition,
    /// It breaks a limit.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// What the service changes in a twin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// A patch of the tags, or all of them.
    pub tags: Option<Value>,
    /// A patch of the desired properties, or all of them.
    pub desired: Option<Value>,
    /// Whether the two replace what is there.
    pub replace: bool,
}

/// The twins of one cloud hub.
pub struct Twins {
    held: Held<Twin>,
    clock: Arc<dyn Clock>,
    /// One change at a time, since each reads before it writes.
    changing: Mutex<()>,
}

impl Twins {
    /// Loads what is kept in `documents`.
    pub fn open(documents: Arc<Documents>, clock: Arc<dyn Clock>) -> Result<Self, DocumentsError> {
        Ok(Self { held: Held::open(documents, TABLE)?, clock, changing: Mutex::default() })
    }

    /// The twin of a registered identity; an empty one if nothing was ever set.
    pub fn get(&self, identity: &Identity) -> Arc<Twin> {
        self.held.get(&identity.to_string()).unwrap_or_default()
    }

    /// Changes tags and desired properties. What the client is to be told goes to `tell`, in the order of the versions:
    /// it is called before another change can be made.
    pub fn change(
        &self,
        identity: &Identity,
        change: &Change,
        etag: Option<u64>,
        tell: impl FnOnce(Value),
    ) -> Result<Twin, TwinError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut twin = Twin::clone(&self.get(identity));
        if etag.is_some_and(|etag| etag != twin.etag) {
            return Err(TwinError::Precondition);
        }
        let told = twin.change(change, &self.clock.now_text())?;
        self.held.put(&identity.to_string(), twin.clone())?;
        if let Some(told) = told {
            tell(told);
        }
        Ok(twin)
    }

    /// Changes many twins in one write; all of it happens, or nothing does. Returns the new versions of each.
    pub fn change_all(
        &self,
        changes: &[(Identity, Change)],
        mut tell: impl FnMut(&Identity, Value),
    ) -> Result<Vec<Versions>, TwinError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now_text();
        let mut changed = Vec::with_capacity(changes.len());
        let mut told = Vec::with_capacity(changes.len());
        let mut versions = Vec::with_capacity(changes.len());
        for (identity, change) in changes {
            let mut twin = Twin::clone(&self.get(identity));
            told.extend(twin.change(change, &now)?.map(|patch| (identity, patch)));
            versions.push(twin.versions());
            changed.push((identity.to_string(), Some(twin)));
        }
        self.held.write(changed)?;
        for (identity, patch) in told {
            tell(identity, patch);
        }
        Ok(versions)
    }

    /// Merges what a client reports. Returns the new versions.
    pub fn report(&self, identity: &Identity, patch: &Value) -> Result<Versions, TwinError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut twin = Twin::clone(&self.get(identity));
        let merged = combined(&twin.reported.properties, patch, false)?;
        check_size(&merged, twin::MAX_SECTION_BYTES)?;
        twin.reported.change(merged, self.clock.now_text(), false);
        twin.version += 1;
        let versions = twin.versions();
        self.held.put(&identity.to_string(), twin)?;
        Ok(versions)
    }

    /// Removes the twins of identities that are gone.
    pub fn remove(&self, identities: impl IntoIterator<Item = Identity>) -> Result<(), DocumentsError> {
        self.held.write(identities.into_iter().map(|identity| (identity.to_string(), None)))
    }
}

/// A section after a patch, or replaced. Null empties it.
fn combined(old: &Map<String, Value>, change: &Value, replace: bool) -> Result<Map<String, Value>, TwinError> {
    let change = twin::strip_metadata(change);
    if !change.is_null() {
        twin::validate_section(&change).map_err(|error| TwinError::Invalid(error.to_string()))?;
    }
    match (change, replace) {
        (Value::Null, _) => Ok(Map::new()),
        (Value::Object(new), true) => Ok(without_nulls(new)),
        (new @ Value::Object(_), false) => match twin::merge(&Value::Object(old.clone()), &new, true) {
            Value::Object(merged) => Ok(without_nulls(merged)),
            _ => Ok(Map::new()),
        },
        _ => Err(TwinError::Invalid("a section of a twin has to be an object".to_owned())),
    }
}

/// The service keeps no nulls.
fn without_nulls(members: Map<String, Value>) -> Map<String, Value> {
    let kept = members.into_iter().filter(|(_, value)| !value.is_null());
    kept.map(|(name, value)| match value {
        Value::Object(inner) => (name, Value::Object(without_nulls(inner))),
        other => (name, other),
    })
    .collect()
}

/// Checks properties that are to replace a section, as the change itself will.
pub(super) fn check_replacement(properties: &Value) -> Result<(), TwinError> {
    check_size(&combined(&Map::new(), properties, true)?, twin::MAX_SECTION_BYTES)
}

fn check_size(section: &Map<String, Value>, limit: usize) -> Result<(), TwinError> {
    let size = serde_json::to_vec(section).map_or(0, |bytes| bytes.len());
    if size > limit {
        return Err(TwinError::Invalid(format!("the section has {size} bytes, the most is {limit}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn versions_count_and_patches_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let documents = Arc::new(Documents::open(&directory.path().join("documents")).unwrap());
        let twins = Twins::open(documents, Arc::new(SystemClock)).unwrap();
        let identity = Identity::parse("edge/filter").unwrap();
        let change = Change { desired: Some(json!({ "a": { "b": 1 }, "c": 2 })), ..Change::default() };
        let mut told = Value::Null;
        let twin = twins.change(&identity, &change, None, |patch| told = patch).unwrap();
        assert_eq!(told, json!({ "a": { "b": 1 }, "c": 2, "$version": 2 }));
        let replace = Change { desired: Some(json!({ "a": { "b": 1 } })), replace: true, ..Change::default() };
        assert!(matches!(twins.change(&identity, &replace, Some(twin.etag + 9), drop), Err(TwinError::Precondition)));
        let twin = twins.change(&identity, &replace, Some(twin.etag), |patch| told = patch).unwrap();
        assert_eq!(told, json!({ "c": null, "$version": 3 }));
        assert_eq!(twin.desired.for_device(), json!({ "a": { "b": 1 }, "$version": 3 }));
        let empty = Change { desired: Some(Value::Null), ..Change::default() };
        let twin = twins.change(&identity, &empty, None, |patch| told = patch).unwrap();
        assert_eq!(told, json!({ "a": null, "$version": 4 }));
        assert_eq!(twin.desired.for_device(), json!({ "$version": 4 }));

        assert_eq!(twins.report(&identity, &json!({ "x": 1, "y": 2 })).unwrap().reported, 2);
        assert_eq!(twins.report(&identity, &json!({ "x": null })).unwrap().reported, 3);
        let twin = twins.get(&identity);
        assert_eq!(twin.for_device()["reported"], json!({ "y": 2, "$version": 3 }));
    }

    #[test]
    fn a_section_has_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let documents = Arc::new(Documents::open(&directory.path().join("documents")).unwrap());
        let twins = Twins::open(documents, Arc::new(SystemClock)).unwrap();
        let identity = Identity::parse("edge").unwrap();
        let change = Change { desired: Some(json!({ "x": "y".repeat(40_000) })), ..Change::default() };
        assert!(matches!(twins.change(&identity, &change, None, drop), Err(TwinError::Invalid(_))));
        assert_eq!(twins.get(&identity).desired.version, 1);
    }
}
