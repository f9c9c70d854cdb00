//! What a device needs on a container engine: the engine, a network of its own, and doors of the edge hub in it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use edgectl_schemas::ids::DeviceId;

use crate::listen::BindError;
use crate::ports::{self, HubListeners};
use crate::runtime::docker::body::Surroundings;
use crate::runtime::docker::engine::{Engine, EngineError, EngineHost, engine_name};
use crate::runtime::docker::network;
use crate::runtime::docker::runtime::{DockerRuntime, DockerRuntimeOptions, remove_all};
use crate::state::StateDirectory;

/// Where containers run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerOptions {
    /// The engine.
    pub host: EngineHost,
    /// The folder with the user's own settings of engines, for access to registries.
    pub settings: Option<PathBuf>,
    /// Whether containers get no privileges, whatever their options say.
    pub is_restricted: bool,
}

/// The containers of a device, before there are any.
#[derive(Debug, Clone)]
pub struct Containers {
    options: ContainerOptions,
    device: DeviceId,
    state: StateDirectory,
}

impl Containers {
    /// The containers of a device.
    pub fn new(options: ContainerOptions, device: &DeviceId, state: &StateDirectory) -> Self {
        Self { options, device: device.clone(), state: state.clone() }
    }

    /// Connects to the engine, makes the network, and lets the edge hub serve in it. From now on there may be containers to
    /// remove.
    pub async fn open<E: std::fmt::Display>(
        &self,
        serve: impl FnOnce(HubListeners) -> Result<(), E>,
    ) -> Result<DockerRuntime, EngineError> {
        let engine = Engine::connect(&self.options.host).await?;
        let (network, device) = (self.network(), self.label());
        // Noted before there is anything, so that nothing can be left that nobody knows of.
        let noted = std::fs::write(self.state.engine(), self.options.host.to_string());
        noted.map_err(|error| no_door(&network, &error))?;
        let gateway = network::ensure(&engine, &network, &device).await?;
        let listeners = listen(gateway, &network).await?;
        serve(listeners).map_err(|error| no_door(&network, &error))?;
        let around = Surroundings { device, network, gateway, is_restricted: self.options.is_restricted };
        let (prefix, settings) = (self.device.to_string(), self.options.settings.clone());
        Ok(DockerRuntime::open(DockerRuntimeOptions { engine, around, prefix, settings }))
    }

    /// Removes what an earlier run left, unless it is to be gone on with. True if something is left.
    pub async fn sweep(&self, goes_on: bool) -> bool {
        let Some(host) = self.left_at() else { return false };
        if goes_on && host == self.options.host {
            return true;
        }
        let removed = async {
            let engine = Engine::connect(&host).await?;
            remove_all(&engine, &self.label(), &self.network()).await
        };
        match removed.await {
            Ok(()) => Self::forget(&self.state),
            Err(error) => tracing::warn!(%error, "containers of an earlier run are left"),
        }
        false
    }

    /// Notes that no containers are left.
    pub fn forget(state: &StateDirectory) {
        if let Err(error) = std::fs::remove_file(state.engine())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot note that there are no containers");
        }
    }

    /// The engine on which a run that did not end well left something.
    fn left_at(&self) -> Option<EngineHost> {
        std::fs::read_to_string(self.state.engine()).ok()?.parse().ok()
    }

    fn network(&self) -> String {
        engine_name(&format!("edgectl-{}", self.device))
    }

    /// What tells this device's containers from those of all others on the machine.
    fn label(&self) -> String {
        self.state.root().display().to_string()
    }
}

async fn listen(gateway: IpAddr, network: &str) -> Result<HubListeners, EngineError> {
    ports::listen_at_all(gateway).await.map_err(|error| match error {
        BindError::Io { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
            EngineError::NoGateway { network: network.to_owned() }
        }
        error => no_door(network, &error),
    })
}

fn no_door(network: &str, error: &dyn std::fmt::Display) -> EngineError {
    EngineError::NoDoor { network: network.to_owned(), reason: error.to_string() }
}
