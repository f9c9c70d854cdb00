//! Both runtimes as one: each module is a process or a container, as its image asks for.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::profile::architecture::Architecture;
use crate::profile::profile::Profile;
use crate::runtime::docker::engine::EngineError;
use crate::runtime::docker::runtime::DockerRuntime;
use crate::runtime::misfit::Misfits;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, ModulePlace, ModuleRuntime, ModuleSpec, ModuleState, RegistryCredential, RuntimeError,
};
use crate::runtime::process::ProcessRuntime;

/// How modules are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeChoice {
    /// As processes of this machine alone.
    Process,
    /// As containers alone.
    Docker,
    /// As a process where one is known for the image, else as a container.
    #[default]
    Auto,
}

impl RuntimeChoice {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 3] =
        [("process", Self::Process), ("docker", Self::Docker), ("auto", Self::Auto)];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, choice)| *choice == self).map_or("auto", |(word, _)| word)
    }
}

/// A word that is no choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of \"process\", \"docker\", \"auto\"")]
pub struct InvalidChoice(String);

impl FromStr for RuntimeChoice {
    type Err = InvalidChoice;

    fn from_str(text: &str) -> Result<Self, InvalidChoice> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| InvalidChoice(text.to_owned()))
    }
}

/// Connects to an engine and makes what containers need. Asked when the first container is wanted, and again after it
/// failed: the engine may have been started since.
pub type OpenContainers = Arc<dyn Fn() -> BoxFuture<'static, Result<DockerRuntime, EngineError>> + Send + Sync>;

/// Runs modules as processes and as containers.
pub struct ChosenRuntime {
    choice: RuntimeChoice,
    processes: ProcessRuntime,
    open: OpenContainers,
    containers: OnceCell<DockerRuntime>,
    /// Modules that the machine of the device's profile could not execute.
    misfits: Misfits,
    exits: watch::Sender<u64>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Where an image runs.
enum Place<'r> {
    Process,
    Container(&'r DockerRuntime),
}

impl ChosenRuntime {
    /// A runtime without containers yet.
    pub fn new(
        choice: RuntimeChoice,
        processes: ProcessRuntime,
        open: OpenContainers,
        profile: Option<Profile>,
    ) -> Self {
        let misfits = Misfits::new(profile);
        let (exits, tasks, shutdown) = (watch::Sender::new(0), TaskTracker::new(), CancellationToken::new());
        let runtime = Self { choice, processes, open, containers: OnceCell::new(), misfits, exits, tasks, shutdown };
        runtime.forward(runtime.processes.exits());
        runtime.forward(runtime.misfits.exits());
        runtime
    }

    /// The containers, for which the engine is looked for if it has not been found yet.
    pub async fn containers(&self) -> Result<&DockerRuntime, EngineError> {
        self.containers
            .get_or_try_init(|| async {
                let containers = (self.open)().await?;
                self.forward(containers.exits());
                Ok(containers)
            })
            .await
    }

    /// Kills processes and removes containers. False if an engine kept containers that are to be removed later.
    pub async fn close(&self) -> bool {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.processes.close().await;
        let Some(containers) = self.containers.get() else { return true };
        match containers.close().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "containers are left, and removed at the next start");
                false
            }
        }
    }

    /// Hands on what one of the two notices.
    fn forward(&self, mut noticed: watch::Receiver<u64>) {
        let (exits, shutdown) = (self.exits.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    changed = noticed.changed() => match changed {
                        Ok(()) => exits.send_modify(|count| *count += 1),
                        Err(_) => return,
                    },
                }
            }
        });
    }

    async fn place(&self, image: &str) -> Result<Place<'_>, RuntimeError> {
        match self.choice {
            RuntimeChoice::Process => Ok(Place::Process),
            RuntimeChoice::Docker => Ok(Place::Container(self.containers().await?)),
            RuntimeChoice::Auto if self.processes.has_image(image) => Ok(Place::Process),
            RuntimeChoice::Auto => match self.containers().await {
                Ok(containers) => Ok(Place::Container(containers)),
                Err(error) => Err(RuntimeError::ImageNotAvailable {
                    image: image.to_owned(),
                    advice: format!(
                        "it is neither built in nor built here; run `edgectl build`. As a container it cannot run \
                         either: {}",
                        RuntimeError::from(error)
                    ),
                }),
            },
        }
    }

    /// What an image is for, as far as it is known: where it runs, or from its tag.
    async fn architecture(&self, place: &Place<'_>, image: &str) -> Option<Architecture> {
        if !self.misfits.is_particular() {
            return None;
        }
        let known = match place {
            Place::Process => self.processes.architecture(image),
            Place::Container(containers) => containers.architecture(image).await,
        };
        known.or_else(|| Architecture::of_image(image))
    }

    /// Who runs a module now.
    fn runner(&self, name: &str) -> Result<&dyn ModuleRuntime, RuntimeError> {
        if self.misfits.has(name) {
            return Ok(&self.misfits);
        }
        if self.processes.has_module(name) {
            return Ok(&self.processes);
        }
        match self.containers.get() {
            Some(containers) => Ok(containers),
            None => Err(RuntimeError::NotFound(name.to_owned())),
        }
    }
}

#[async_trait]
impl ModuleRuntime for ChosenRuntime {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        let mut states = self.processes.list().await?;
        if let Some(containers) = self.containers.get() {
            states.extend(containers.list().await?);
        }
        states.extend(self.misfits.states());
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    async fn prepare(&self, image: &str, credential: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        match self.place(image).await? {
            Place::Process => self.processes.prepare(image, credential).await,
            Place::Container(containers) => containers.prepare(image, credential).await,
        }
    }

    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError> {
        let name = specification.name.clone();
        // A module whose image runs elsewhere than its last one must not be there twice.
        let place = self.place(&specification.image).await?;
        let architecture = self.architecture(&place, &specification.image).await;
        if self.misfits.refuses(architecture) {
            gone(self.processes.remove(&name).await)?;
            if let Some(containers) = self.containers.get() {
                gone(containers.remove(&name).await)?;
            }
            self.misfits.add(&specification, architecture);
            return Ok(());
        }
        gone(self.misfits.remove(&name).await)?;
        match place {
            Place::Process => {
                if let Some(containers) = self.containers.get() {
                    gone(containers.remove(&name).await)?;
                }
                self.processes.create(specification).await
            }
            Place::Container(containers) => {
                gone(self.processes.remove(&name).await)?;
                containers.create(specification).await
            }
        }
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        self.runner(name)?.start(name).await
    }

    async fn stop(&self, name: &str, timeout: Duration) -> Result<(), RuntimeError> {
        self.runner(name)?.stop(name, timeout).await
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        self.runner(name)?.remove(name).await
    }

    async fn logs(&self, name: &str, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        self.runner(name)?.logs(name, query).await
    }

    async fn place(&self, name: &str) -> Result<ModulePlace, RuntimeError> {
        self.runner(name)?.place(name).await
    }

    fn exits(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}

/// What is not there need not be removed.
fn gone(removed: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match removed {
        Err(RuntimeError::NotFound(_)) => Ok(()),
        removed => removed,
    }
}
