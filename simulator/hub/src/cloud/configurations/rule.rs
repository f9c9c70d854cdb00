//! A configuration as it is applied: with its target condition read.

use std::sync::Arc;

use edgectl_schemas::manifest::layers::Deployment;
use edgectl_schemas::query::evaluate::holds;
use edgectl_schemas::query::statement::Collection;

use super::configuration::Configuration;
use crate::cloud::query::TwinRow;
use crate::cloud::target::{Target, target};

/// A configuration with what follows from its text.
pub(super) struct Rule {
    pub(super) configuration: Arc<Configuration>,
    pub(super) deployment: Option<Deployment>,
    target: Target,
}

impl Rule {
    /// The rules of all configurations. Among equals the newest wins, which comes last.
    pub(super) fn all(mut configurations: Vec<Arc<Configuration>>) -> Arc<[Self]> {
        configurations.sort_by_key(|configuration| configuration.created_ms);
        // All were checked when they were taken.
        let read = configurations.into_iter().filter_map(|configuration| {
            let target = target(&configuration.target_condition).ok()?;
            Some(Self { deployment: configuration.deployment(), configuration, target })
        });
        read.collect()
    }

    /// Whether it is for a device or module.
    pub(super) fn is_for(&self, row: &TwinRow) -> bool {
        self.target.condition.as_ref().is_some_and(|condition| holds(condition, row))
    }

    /// Whether it is about twins of such a kind.
    pub(super) fn is_of(&self, modules: bool) -> bool {
        (self.target.of == Collection::Modules) == modules
    }
}
