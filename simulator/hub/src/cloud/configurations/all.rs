//! All configurations of a hub, and which of them are applied to whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use edgectl_schemas::ids::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::configuration::{Configuration, InvalidConfiguration};
use super::rule::Rule;
use crate::clock::Clock;
use crate::cloud::held::Held;
use crate::cloud::registry::Condition;
use crate::documents::{Documents, DocumentsError, Table};

const TABLE: Table = Table::new("configurations");
const APPLIED: Table = Table::new("appliedConfigurations");
/// Most configurations of a hub.
pub const MAX_CONFIGURATIONS: usize = 100;

/// A configuration is not made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// There is no such one.
    #[error("there is no configuration {0}")]
    NotFound(String),
    /// There is one already.
    #[error("there is a configuration {0} already")]
    Exists(String),
    /// It was changed meanwhile.
    #[error("configuration {0} was changed meanwhile")]
    Precondition(String),
    /// It breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidConfiguration),
    /// There are as many as there may be.
    #[error("there are {MAX_CONFIGURATIONS} configurations, which is the most")]
    TooMany,
    /// It cannot be read or written.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
}

/// What of configurations a device or module has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Their names.
    pub configurations: Arc<Vec<String>>,
    /// The modules that the edge device was given, as they were given.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub content: Map<String, Value>,
    /// What was set in its twin, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, Value>,
}

/// The configurations of one cloud hub.
pub struct Configurations {
    held: Held<Configuration>,
    /// Made anew when a configuration changes.
    rules: RwLock<Arc<[Rule]>>,
    pub(super) applied: Held<Applied>,
    clock: Arc<dyn Clock>,
    /// One change at a time.
    changing: Mutex<()>,
    /// One roll-out at a time.
    pub(super) rolling: Mutex<()>,
}

impl Configurations {
    /// Loads what is kept in `documents`.
    pub fn open(documents: Arc<Documents>, clock: Arc<dyn Clock>) -> Result<Self, DocumentsError> {
        let (changing, rolling) = Default::default();
        let held = Held::open(Arc::clone(&documents), TABLE)?;
        let rules = RwLock::new(Rule::all(held.all()));
        Ok(Self { held, rules, applied: Held::open(documents, APPLIED)?, clock, changing, rolling })
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Configuration>> {
        self.held.all()
    }

    /// The same as they are applied.
    pub(super) fn rules(&self) -> Arc<[Rule]> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, id: &str, configuration: Option<Configuration>) -> Result<(), DocumentsError> {
        self.held.write([(id.to_owned(), configuration)])?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rule::all(self.held.all());
        Ok(())
    }

    /// One of them.
    pub fn require(&self, id: &str) -> Result<Arc<Configuration>, ConfigurationError> {
        self.held.get(id).ok_or_else(|| ConfigurationError::NotFound(id.to_owned()))
    }

    /// The names of the configurations that are applied to a device, or to a module. A deployment is applied to the agent.
    pub fn applied_to(&self, identity: &Identity) -> Arc<Vec<String>> {
        self.applied.get(&identity.to_string()).map(|applied| Arc::clone(&applied.configurations)).unwrap_or_default()
    }

    /// Makes or changes one. Its times and its etag are set here. The content of one that is there cannot be changed.
    pub(super) fn put(
        &self,
        mut wanted: Configuration,
        condition: Option<Condition>,
    ) -> Result<Arc<Configuration>, ConfigurationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.check()?;
        let id = wanted.id.clone();
        let now = self.clock.now_ms();
        match (self.held.get(&id), condition) {
            (Some(_), None | Some(Condition::Absent)) => return Err(ConfigurationError::Exists(id)),
            (None, Some(Condition::Present | Condition::Etag(_))) => return Err(ConfigurationError::NotFound(id)),
            (Some(old), Some(Condition::Etag(etag))) if old.etag != etag => {
                return Err(ConfigurationError::Precondition(id));
            }
            (Some(old), _) => {
                if old.content != wanted.content {
                    let text = "the content of a configuration cannot be changed: make another one".to_owned();
                    return Err(InvalidConfiguration(text).into());
                }
                (wanted.created_ms, wanted.updated_ms, wanted.etag) = (old.created_ms, now, old.etag + 1);
            }
            (None, _) if self.held.count() >= MAX_CONFIGURATIONS => return Err(ConfigurationError::TooMany),
            (None, _) => (wanted.created_ms, wanted.updated_ms, wanted.etag) = (now, now, 1),
        }
        self.write(&id, Some(wanted))?;
        self.require(&id)
    }

    /// What is applied to identities that are gone is forgotten.
    pub fn forget<'a>(&self, identities: impl Iterator<Item = &'a Identity>) -> Result<(), DocumentsError> {
        let known = identities.map(Identity::to_string).filter(|key| self.applied.get(key).is_some());
        self.applied.write(known.map(|key| (key, None)))
    }

    /// Removes one.
    pub(super) fn remove(&self, id: &str, condition: Option<Condition>) -> Result<(), ConfigurationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.require(id)?;
        if matches!(condition, Some(Condition::Etag(etag)) if etag != old.etag) {
            return Err(ConfigurationError::Precondition(id.to_owned()));
        }
        Ok(self.write(id, None)?)
    }
}
