//! What the agent knows of the modules it deployed, beyond what their runtime knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Map;

use crate::agent::deployment::{DockerSettings, ImagePullPolicy, ModuleSpecification, RestartPolicy};
use crate::agent::plan::CurrentModule;
use crate::agent::report::ModuleReport;
use crate::agent::restart::RestartRules;
use crate::runtime::module_runtime::{ModuleState, ModuleStatus};

/// The modules that the agent deployed, by name.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    specification: ModuleSpecification,
    restart_count: u32,
    last_restart: Option<Timestamp>,
}

impl Ledger {
    /// Notes that a module was created or replaced.
    pub(super) fn deployed(&mut self, specification: ModuleSpecification) {
        let entry = Entry { restart_count: 0, last_restart: None, specification };
        self.entries.insert(entry.specification.name.clone(), entry);
    }

    /// Notes that a module was started or stopped because the deployment now wants it so.
    pub(super) fn desired_status(&mut self, name: &str, status: ModuleStatus) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.specification.status = status;
        }
    }

    /// Notes that a module was removed.
    pub(super) fn removed(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// What was deployed as a module.
    pub(super) fn specification(&self, name: &str) -> Option<&ModuleSpecification> {
        self.entries.get(name).map(|entry| &entry.specification)
    }

    /// Counts a restart.
    pub(super) fn restarted(&mut self, name: &str, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.restart_count += 1;
            entry.last_restart = Some(now);
        }
    }

    /// Forgets the restarts of a module.
    pub(super) fn forget_restarts(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.restart_count = 0;
            entry.last_restart = None;
        }
    }

    /// A module as the plan sees it.
    pub(super) fn current(&self, state: &ModuleState, rules: &RestartRules) -> CurrentModule {
        let entry = self.entries.get(&state.name);
        let specification = entry.map_or_else(|| foreign(state), |entry| entry.specification.clone());
        let restart_count = entry.map_or(0, |entry| entry.restart_count);
        // What is meant to be stopped does not wait for a restart.
        let status = match specification.status {
            ModuleStatus::Stopped => state.status,
            _ => rules.effective_status(state.status, specification.restart_policy, restart_count),
        };
        CurrentModule { status, specification, last_start: state.started_at, last_exit: state.exited_at, restart_count }
    }

    /// A module as the hub is told.
    pub(super) fn report(&self, state: &ModuleState, rules: &RestartRules) -> ModuleReport {
        let current = self.current(state, rules);
        ModuleReport {
            specification: current.specification,
            status: current.status,
            description: state.description.clone(),
            exit_code: state.exit_code.unwrap_or(0),
            last_start: state.started_at,
            last_exit: state.exited_at,
            restart_count: current.restart_count,
            last_restart: self.entries.get(&state.name).and_then(|entry| entry.last_restart),
            image_hash: state.image_hash.clone(),
        }
    }
}

/// What a module is taken for that the agent did not deploy: nothing that a deployment could want as it is.
fn foreign(state: &ModuleState) -> ModuleSpecification {
    ModuleSpecification {
        name: state.name.clone(),
        version: String::new(),
        status: ModuleStatus::Unknown,
        restart_policy: RestartPolicy::Never,
        image_pull_policy: ImagePullPolicy::Never,
        startup_order: 0,
        env: BTreeMap::new(),
        settings: DockerSettings { image: state.image.clone(), digest: None, create_options: Map::new() },
    }
}
