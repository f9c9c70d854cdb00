//! One look at a running device: what it says of itself, and what its modules' processes use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use edgectl_simulator::control::ControlError;
use edgectl_simulator::metrics::machine::{self, ProcessorTime};
use edgectl_simulator::metrics::processes::{Processes, Usage};
use edgectl_simulator::requests::DeviceStatus;
use edgectl_simulator::state::StateDirectory;
use serde_json::Value;

use crate::commands::status;

/// A device at one moment.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) status: DeviceStatus,
    pub(super) processors: ProcessorTime,
    /// What modules use, by name; those alone whose processes are known.
    pub(super) usage: BTreeMap<String, Usage>,
}

/// Looks at a device.
pub(super) async fn look(state: &StateDirectory) -> Result<Look, ControlError> {
    let status = status::fetch(state).await?;
    let modules: Vec<(String, u32)> =
        status.modules.iter().filter_map(|module| Some((module.name.clone(), module.process?))).collect();
    let seen = tokio::task::spawn_blocking(move || {
        let processes = Processes::now();
        let usage = modules.into_iter().filter_map(|(name, first)| Some((name, processes.usage(first)?)));
        (usage.collect(), machine::processor_time().unwrap_or_default())
    });
    // Looking does not panic; and where it did, nothing was seen.
    let (usage, processors) = seen.await.unwrap_or_default();
    Ok(Look { at: Instant::now(), status, processors, usage })
}

impl Look {
    /// A counter of the edge hub, by name: `accepted`, `routed`, `delivered` or `dropped`.
    pub(super) fn counts(&self, counter: &str) -> BTreeMap<String, u64> {
        numbers(self.status.hub.pointer(&format!("/counters/{counter}")))
    }

    /// Messages that wait, by endpoint.
    pub(super) fn queues(&self) -> BTreeMap<String, u64> {
        numbers(self.status.hub.get("queues"))
    }

    /// Endpoints at which messages wait or arrived.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.queues().into_keys().chain(self.counts("delivered").into_keys()).collect();
        names.into_iter().collect()
    }

    /// The routes in force, by name.
    pub(super) fn routes(&self) -> BTreeMap<String, String> {
        let routes = self.status.hub.get("routes").and_then(Value::as_object).into_iter().flatten();
        routes.map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned())).collect()
    }
}

fn numbers(value: Option<&Value>) -> BTreeMap<String, u64> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members.map(|(name, number)| (name.clone(), number.as_u64().unwrap_or_default())).collect()
}
