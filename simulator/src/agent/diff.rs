//! What differs between the modules that are desired and those that are there.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::deployment::ModuleSpecification;

/// Names of modules, by what happened to them. A module that is the same is in none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Desired and not there.
    pub added: BTreeSet<String>,
    /// There and not desired.
    pub removed: BTreeSet<String>,
    /// Desired otherwise than they are, in more than the status.
    pub updated: BTreeSet<String>,
    /// Desired otherwise than they are, in the status alone.
    pub desired_status_updated: BTreeSet<String>,
}

/// Compares what is desired with what was deployed.
pub fn diff<'a>(
    desired: &BTreeMap<String, ModuleSpecification>,
    current: impl IntoIterator<Item = (&'a str, &'a ModuleSpecification)>,
) -> Diff {
    let mut diff = Diff { added: desired.keys().cloned().collect(), ..Diff::default() };
    for (name, current) in current {
        diff.added.remove(name);
        let changed = match desired.get(name) {
            None => &mut diff.removed,
            Some(desired) if desired == current => continue,
            Some(desired) if *desired == (ModuleSpecification { status: desired.status, ..current.clone() }) => {
                &mut diff.desired_status_updated
            }
            Some(_) => &mut diff.updated,
        };
        changed.insert(name.to_owned());
    }
    diff
}
