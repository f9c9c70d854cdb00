//! The module runtime whose modules are containers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, ListContainersOptions, RemoveContainerOptions, StopContainerOptions,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::profile::architecture::Architecture;
use crate::runtime::docker::body::{DEVICE_LABEL, MODULE_LABEL, Surroundings, create_body};
use crate::runtime::docker::engine::{Engine, EngineError, engine_name};
use crate::runtime::docker::events::{self, Watchers};
use crate::runtime::docker::images::Images;
use crate::runtime::docker::logs::LogReader;
use crate::runtime::docker::network;
use crate::runtime::docker::state::module_state;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, ModulePlace, ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RegistryCredential,
    RuntimeError,
};

/// How long a container that is replaced or removed may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of a log that wait for their reader; then the engine does.
const LOG_QUEUE: usize = 256;

/// How a device's containers are run.
#[derive(Debug)]
pub struct DockerRuntimeOptions {
    /// The engine.
    pub engine: Engine,
    /// What the containers share.
    pub around: Surroundings,
    /// What their names begin with: the device's identifier.
    pub prefix: String,
    /// The folder with the user's own settings of engines, for access to registries.
    pub settings: Option<PathBuf>,
}

/// Runs modules as containers of an engine.
#[derive(Debug)]
pub struct DockerRuntime {
    engine: Engine,
    around: Surroundings,
    prefix: String,
    images: Images,
    watchers: Watchers,
    /// The modules when the engine was last there.
    last: Mutex<Vec<ModuleState>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl DockerRuntime {
    /// Opens a runtime. Containers that an earlier run of the device left are its modules. Needs a runtime of tokio.
    pub fn open(options: DockerRuntimeOptions) -> Self {
        let DockerRuntimeOptions { engine, around, prefix, settings } = options;
        let (tasks, shutdown, watchers) = (TaskTracker::new(), CancellationToken::new(), Watchers::default());
        tasks.spawn(events::listen(engine.clone(), around.device.clone(), watchers.clone(), shutdown.clone()));
        let images = Images::new(engine.clone(), settings);
        Self { engine, around, prefix, images, watchers, last: Mutex::default(), tasks, shutdown }
    }

    /// Ends the runtime, and removes the device's containers and its network.
    pub async fn close(&self) -> Result<(), EngineError> {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        remove_all(&self.engine, &self.around.device, &self.around.network).await
    }

    /// What an image of the engine is for, if it is there.
    pub async fn architecture(&self, image: &str) -> Option<Architecture> {
        Architecture::of_platform(&self.images.architecture(image).await?)
    }

    /// The name of a module's container.
    fn container_name(&self, module: &str) -> String {
        engine_name(&format!("{}-{module}", self.prefix))
    }

    /// The container of a module of this device.
    async fn find(&self, module: &str) -> Result<ContainerInspectResponse, RuntimeError> {
        let found = self.inspect(&self.container_name(module)).await?;
        let own = found.filter(|container| self.is_own(container, module));
        own.ok_or_else(|| RuntimeError::NotFound(module.to_owned()))
    }

    async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        found(self.engine.docker().inspect_container(container, None).await.map_err(|error| self.engine.explain(error)))
    }

    fn is_own(&self, container: &ContainerInspectResponse, module: &str) -> bool {
        let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        label(DEVICE_LABEL) == Some(self.around.device.as_str()) && label(MODULE_LABEL) == Some(module)
    }

    /// Sends a request's body as it is: the client's own types would lose what they do not know.
    async fn create_from(&self, module: &str, body: Value) -> Result<(), EngineError> {
        let body = bytes::Bytes::from(body.to_string());
        let docker = self.engine.docker().clone().with_request_modifier(move |mut request| {
            *request.body_mut() = bollard::body_full(body.clone());
            request
        });
        let options = CreateContainerOptions { name: Some(self.container_name(module)), ..Default::default() };
        let created = docker.create_container(Some(options), ContainerCreateBody::default()).await;
        for warning in created.map_err(|error| self.engine.explain(error))?.warnings {
            tracing::warn!(module, warning, "the container engine warns");
        }
        Ok(())
    }

    fn name_taken(&self, module: &str) -> RuntimeError {
        let container = self.container_name(module);
        RuntimeError::Invalid {
            name: module.to_owned(),
            reason: format!(
                "there is a container {container} that is not this device's; remove it with `docker rm -f {container}`, \
                 or give this solution another `device` in edgectl.yaml"
            ),
        }
    }

    async fn states(&self) -> Result<Vec<ModuleState>, EngineError> {
        let docker = self.engine.docker();
        let mut states = Vec::new();
        for id in ids(&self.engine, &self.around.device).await? {
            // It may be gone since.
            let container =
                found(docker.inspect_container(&id, None).await.map_err(|error| self.engine.explain(error)))?;
            states.extend(container.as_ref().and_then(module_state));
        }
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    /// The modules as they were last seen, when the engine does not say how they are now.
    fn last_seen(&self, error: &EngineError) -> Vec<ModuleState> {
        let mut states = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for state in &mut states {
            state.status = ModuleStatus::Unknown;
            state.description = error.to_string();
            state.pid = None;
        }
        states
    }
}

#[async_trait]
impl ModuleRuntime for DockerRuntime {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        match self.states().await {
            Ok(states) => {
                self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&states);
                Ok(states)
            }
            Err(error) if error.is_lost() => Ok(self.last_seen(&error)),
            Err(error) => Err(error.into()),
        }
    }

    async fn prepare(&self, image: &str, credential: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        self.images.ensure(image, credential).await
    }

    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError> {
        let name = specification.name.as_str();
        // A container that works is not given up for one that cannot be.
        self.images.check(&specification.image).await?;
        match self.inspect(&self.container_name(name)).await? {
            Some(container) if self.is_own(&container, name) => self.remove(name).await?,
            Some(_) => return Err(self.name_taken(name)),
            None => {}
        }
        let body = Value::Object(create_body(&specification, &self.around));
        match self.create_from(name, body).await {
            Ok(()) => Ok(()),
            Err(EngineError::Refused { status: 409, .. }) => Err(self.name_taken(name)),
            Err(EngineError::Refused { message, .. }) => {
                Err(RuntimeError::Invalid { name: name.to_owned(), reason: refused("create", &message) })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        let id = self.find(name).await?.id.unwrap_or_default();
        match self.engine.docker().start_container(&id, None).await.map_err(|error| self.engine.explain(error)) {
            Ok(()) => Ok(()),
            Err(EngineError::Refused { message, .. }) => {
                Err(RuntimeError::Invalid { name: name.to_owned(), reason: refused("start", &message) })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn stop(&self, name: &str, timeout: Duration) -> Result<(), RuntimeError> {
        let id = self.find(name).await?.id.unwrap_or_default();
        let docker = self.engine.docker();
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        // The engine kills it when the time is over.
        let options = StopContainerOptions { t: Some(seconds), ..StopContainerOptions::default() };
        let stopped = match docker.stop_container(&id, Some(options)).await {
            Err(bollard::errors::Error::RequestTimeoutError) => {
                docker.kill_container(&id, None::<KillContainerOptions>).await
            }
            stopped => stopped,
        };
        found(stopped.map_err(|error| self.engine.explain(error)))?;
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        self.stop(name, STOP_TIMEOUT).await?;
        let id = self.find(name).await?.id.unwrap_or_default();
        Ok(remove_container(&self.engine, &id).await?)
    }

    async fn logs(&self, name: &str, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        self.find(name).await?;
        let (lines, receiver) = mpsc::channel(LOG_QUEUE);
        let reader =
            LogReader::new(self.engine.clone(), self.container_name(name), query, self.watchers.changes.subscribe());
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = lines.closed() => {}
                () = reader.run(&lines) => {}
            }
        });
        Ok(receiver)
    }

    async fn place(&self, name: &str) -> Result<ModulePlace, RuntimeError> {
        self.find(name).await?;
        Ok(ModulePlace::Container { engine: self.engine.host().to_string(), name: self.container_name(name) })
    }

    fn exits(&self) -> watch::Receiver<u64> {
        self.watchers.exits.subscribe()
    }
}

/// Removes every container and the network of a device: what an earlier run left.
pub async fn remove_all(engine: &Engine, device: &str, network: &str) -> Result<(), EngineError> {
    for id in ids(engine, device).await? {
        remove_container(engine, &id).await?;
    }
    network::remove(engine, network, device).await
}

/// The containers of a device, running or not.
async fn ids(engine: &Engine, device: &str) -> Result<Vec<String>, EngineError> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{DEVICE_LABEL}={device}")])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    let containers = engine.docker().list_containers(Some(options)).await.map_err(|error| engine.explain(error))?;
    Ok(containers.into_iter().filter_map(|container| container.id).collect())
}

async fn remove_container(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
    let removed = engine.docker().remove_container(id, Some(options)).await.map_err(|error| engine.explain(error));
    match removed {
        // The engine is about to remove it by itself, as an option of its creation wants.
        Err(EngineError::Refused { status: 409, message }) if message.contains("already in progress") => Ok(()),
        removed => found(removed).map(drop),
    }
}

/// None for what is not there.
fn found<T>(result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn refused(doing: &str, message: &str) -> String {
    format!("the container engine does not {doing} it: {message}")
}
