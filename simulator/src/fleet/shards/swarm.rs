//! Shards as jobs of a Docker swarm.
//!
//! Each shard is a service of its own, a replicated job with one task: the engine of version 20.10 tells the tasks of one job
//! apart by no number that could be relied on. What a shard has to know, keys among it, is a secret of the swarm. Tasks use
//! their node's network as it is: they connect to the cloud hub, and nobody connects to them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bollard::errors::Error;
use bollard::models::{
    LocalNodeState, NetworkAttachmentConfig, SecretSpec, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicatedJob,
    Task, TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecFile, TaskSpecContainerSpecSecrets,
    TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum, TaskState,
};
use bollard::query_parameters::{ListSecretsOptions, ListServicesOptions, ListTasksOptions};

use super::engine::ShardEngine;
use crate::containers::Containers;
use crate::device::{DeviceError, other};
use crate::fleet::shard::ShardOrder;
use crate::runtime::docker::engine::{Engine, EngineError};
use crate::state::StateDirectory;

/// Where a task finds its order.
pub const ORDER_PATH: &str = "/run/secrets/shard";
/// Most bytes of a secret, as the engine has it.
const MAX_SECRET_BYTES: usize = 500 * 1024;
/// Whose services and secrets these are.
const LABEL: &str = "com.edgectl.fleet";
/// The user that shards run as: nobody in particular.
const USER: &str = "65532";
/// To the user alone.
const SECRET_MODE: u32 = 0o400;
/// Until a task that failed is started again, in nanoseconds.
const RESTART_DELAY_NS: i64 = 1_000_000_000;
/// Devices say that they end; in nanoseconds.
const STOP_GRACE_NS: i64 = 20_000_000_000;

/// A swarm that can be used.
pub struct Swarm {
    engine: Engine,
    state: StateDirectory,
    label: String,
    image: String,
    arguments: Vec<String>,
    /// The services that were made: the engine still tells of tasks whose services are gone.
    services: Mutex<HashSet<String>>,
}

impl Swarm {
    /// Uses the swarm that an engine manages. Where its state lies tells this fleet from all others; the arguments make the
    /// image's program a shard with the order at [`ORDER_PATH`].
    pub fn new(engine: Engine, state: StateDirectory, image: String, arguments: Vec<String>) -> Self {
        let label = label(&state);
        Self { engine, state, label, image, arguments, services: Mutex::default() }
    }

    /// Removes what a fleet left in a swarm that was killed. True if it left anything.
    pub async fn sweep(state: &StateDirectory) -> Result<bool, EngineError> {
        let Ok(host) = fs::read_to_string(state.engine()) else { return Ok(false) };
        let engine = Engine::connect(&host.trim().parse()?).await?;
        let swarm = Self::new(engine, state.clone(), String::new(), Vec::new());
        swarm.remove().await.map_err(|error| swarm.engine.explain(error))?;
        Containers::forget(state);
        Ok(true)
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.label.clone())])
    }

    fn filters(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{LABEL}={}", self.label)])])
    }

    fn name(&self, number: usize) -> String {
        format!("edgectl-fleet-{:08x}-{number}", crc32fast::hash(self.label.as_bytes()))
    }

    fn explain(&self, error: Error) -> DeviceError {
        self.engine.explain(error).into()
    }

    /// Removes all services and secrets of the fleet.
    async fn remove(&self) -> Result<(), Error> {
        let docker = self.engine.docker();
        let filters = Some(self.filters());
        let services = ListServicesOptions { filters: filters.clone(), ..Default::default() };
        for id in docker.list_services(Some(services)).await?.into_iter().filter_map(|service| service.id) {
            docker.delete_service(&id).await?;
        }
        let secrets = docker.list_secrets(Some(ListSecretsOptions { filters })).await?;
        for id in secrets.into_iter().filter_map(|secret| secret.id) {
            docker.delete_secret(&id).await?;
        }
        Ok(())
    }

    async fn create(&self, number: usize, order: &ShardOrder) -> Result<(), DeviceError> {
        let order = serde_json::to_vec(order).map_err(|error| other("a shard's order")(&error))?;
        if order.len() > MAX_SECRET_BYTES {
            let reason = format!(
                "what it has to know is {} KiB, and a secret of a swarm takes {}: more shards are needed",
                order.len().div_ceil(1024),
                MAX_SECRET_BYTES / 1024
            );
            return Err(other("a shard")(&reason));
        }
        let name = self.name(number);
        let secret = SecretSpec {
            name: Some(name.clone()),
            labels: Some(self.labels()),
            data: Some(BASE64.encode(order)),
            ..Default::default()
        };
        let docker = self.engine.docker();
        let secret = docker.create_secret(secret).await.map_err(|error| self.explain(error))?;
        let service = self.service(name, secret.id);
        let made = docker.create_service(service, None).await.map_err(|error| self.explain(error))?;
        self.services.lock().unwrap_or_else(PoisonError::into_inner).extend(made.id);
        Ok(())
    }

    fn service(&self, name: String, secret_id: String) -> ServiceSpec {
        let file = TaskSpecContainerSpecFile {
            name: ORDER_PATH.rsplit('/').next().map(str::to_owned),
            uid: Some(USER.to_owned()),
            gid: Some(USER.to_owned()),
            mode: Some(SECRET_MODE),
        };
        let secret = TaskSpecContainerSpecSecrets {
            file: Some(file),
            secret_id: Some(secret_id),
            secret_name: Some(name.clone()),
        };
        let container = TaskSpecContainerSpec {
            image: Some(self.image.clone()),
            args: Some(self.arguments.clone()),
            user: Some(format!("{USER}:{USER}")),
            read_only: Some(true),
            secrets: Some(vec![secret]),
            stop_grace_period: Some(STOP_GRACE_NS),
            ..Default::default()
        };
        let restart = TaskSpecRestartPolicy {
            condition: Some(TaskSpecRestartPolicyConditionEnum::ON_FAILURE),
            delay: Some(RESTART_DELAY_NS),
            ..Default::default()
        };
        let network = NetworkAttachmentConfig { target: Some("host".to_owned()), ..Default::default() };
        let task = TaskSpec {
            container_spec: Some(container),
            restart_policy: Some(restart),
            networks: Some(vec![network]),
            ..Default::default()
        };
        let job = ServiceSpecModeReplicatedJob { max_concurrent: Some(1), total_completions: Some(1) };
        ServiceSpec {
            name: Some(name),
            labels: Some(self.labels()),
            task_template: Some(task),
            mode: Some(ServiceSpecMode { replicated_job: Some(job), ..Default::default() }),
            ..Default::default()
        }
    }

    async fn tasks(&self) -> Result<Vec<Task>, Error> {
        let filters = Some(self.filters());
        self.engine.docker().list_tasks(Some(ListTasksOptions { filters })).await
    }
}

#[async_trait]
impl ShardEngine for Swarm {
    async fn start(&self, orders: Vec<ShardOrder>) -> Result<(), DeviceError> {
        // Noted before there is anything, so that nothing can be left that nobody knows of.
        let noted = fs::write(self.state.engine(), self.engine.host().to_string());
        noted.map_err(|error| other("the engine of the shards")(&error))?;
        self.remove().await.map_err(|error| self.explain(error))?;
        for (number, order) in (1..).zip(orders) {
            if let Err(error) = self.create(number, &order).await {
                self.stop().await;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn trouble(&self) -> Option<String> {
        let tasks = match self.tasks().await {
            Ok(tasks) => tasks,
            Err(error) => return Some(self.engine.explain(error).to_string()),
        };
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        trouble(tasks.into_iter().filter(|task| task.service_id.as_ref().is_some_and(|id| services.contains(id))))
    }

    async fn stop(&self) {
        match self.remove().await {
            Ok(()) => Containers::forget(&self.state),
            Err(error) => tracing::warn!(%error, label = self.label, "services of the fleet are left in the swarm"),
        }
    }
}

/// Whose services and secrets are those of a fleet.
fn label(state: &StateDirectory) -> String {
    state.root().display().to_string()
}

/// What is wrong with the newest task of a service, if anything is.
fn trouble(tasks: impl IntoIterator<Item = Task>) -> Option<String> {
    let mut newest: BTreeMap<String, Task> = BTreeMap::new();
    for task in tasks {
        let service = task.service_id.clone().unwrap_or_default();
        let is_newer = newest.get(&service).is_none_or(|known| known.created_at < task.created_at);
        if is_newer {
            newest.insert(service, task);
        }
    }
    newest.into_values().find_map(|task| {
        let status = task.status?;
        let node = task.node_id.map(|node| format!(" on node {node}")).unwrap_or_default();
        match (status.state?, status.err) {
            (state @ (TaskState::FAILED | TaskState::REJECTED | TaskState::COMPLETE), why) => {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                Some(format!("a shard{node} is {state}{why}"))
            }
            (TaskState::PENDING, Some(why)) => Some(format!("a shard finds no node: {why}")),
            _ => None,
        }
    })
}

/// Why an engine runs no shards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSwarm {
    /// The engine cannot be used at all.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It is in no swarm.
    #[error("the container engine at {0} is in no swarm")]
    Alone(String),
    /// It is a worker.
    #[error("the container engine at {0} does not manage its swarm")]
    Worker(String),
}

/// The nodes of a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// How many there are.
    pub count: usize,
    /// The address by which the others know the one that was asked.
    pub address: String,
}

/// The nodes of the swarm that an engine manages.
pub async fn nodes(engine: &Engine) -> Result<Nodes, NoSwarm> {
    let info = engine.docker().info().await.map_err(|error| engine.explain(error))?;
    let host = engine.host().to_string();
    let Some(swarm) = info.swarm.filter(|swarm| swarm.local_node_state == Some(LocalNodeState::ACTIVE)) else {
        return Err(NoSwarm::Alone(host));
    };
    if swarm.control_available != Some(true) {
        return Err(NoSwarm::Worker(host));
    }
    let count = swarm.nodes.and_then(|nodes| usize::try_from(nodes).ok()).unwrap_or(1);
    Ok(Nodes { count, address: swarm.node_addr.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_task_of_a_service_counts() {
        let task = |service: &str, at: u8, state: &str, why: &str| -> Task {
            let task = json!({
                "ServiceID": service, "CreatedAt": format!("2026-01-01T00:00:{at:02}Z"), "NodeID": "n",
                "Status": { "State": state, "Err": why },
            });
            serde_json::from_value(task).unwrap()
        };
        assert_eq!(trouble(vec![task("a", 2, "running", ""), task("a", 1, "failed", "no")]), None);
        let failed = trouble(vec![task("b", 1, "running", ""), task("a", 2, "rejected", "No such image")]);
        assert_eq!(failed.as_deref(), Some("a shard on node n is rejected: No such image"));
        assert!(trouble(vec![task("a", 1, "pending", "no suitable node")]).is_some());
        assert_eq!(trouble(vec![task("a", 1, "preparing", "")]), None);
    }
}
