//! The module runtime of a device of a fleet: generators in place of processes and containers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_hub::clock::Clock;
use edgectl_hub::edge::hub::EdgeHub;
use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chance::Seed;
use super::generator::Generator;
use crate::runtime::module_runtime::{
    LogLine, LogQuery, LogStream, ModuleRuntime, ModuleSpec, ModuleState, ModuleStatus, RegistryCredential,
    RuntimeError,
};

/// The edge hub's name among the modules of a deployment. It is there already.
const EDGE_HUB: &str = "edgeHub";
/// The exit code of a module that fails.
const FAILED: i32 = 1;

/// How the modules of a fleet behave.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Behaviour {
    /// What all chance follows from.
    pub seed: Seed,
    /// How often a module sends.
    pub interval: Duration,
    /// How many messages a module sends after each of its starts; none for no end.
    pub messages: Option<u64>,
    /// Which share of the modules ends at each start.
    pub failing: f64,
}

/// The modules of one device.
pub struct Generators {
    edge: Arc<EdgeHub>,
    device: DeviceId,
    behaviour: Behaviour,
    clock: Arc<dyn Clock>,
    modules: Mutex<BTreeMap<String, Module>>,
    exits: watch::Sender<u64>,
    tasks: TaskTracker,
}

struct Module {
    specification: ModuleSpec,
    status: ModuleStatus,
    started_at: Option<Timestamp>,
    exited_at: Option<Timestamp>,
    exit_code: Option<i32>,
    /// Ends it while it runs.
    stop: CancellationToken,
}

impl Generators {
    /// A runtime without modules.
    pub fn new(
        edge: Arc<EdgeHub>,
        device: DeviceId,
        behaviour: Behaviour,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Self {
        let (modules, exits) = (Mutex::default(), watch::Sender::new(0));
        Self { edge, device, behaviour, clock, modules, exits, tasks }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Module>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self, module: &str) -> bool {
        self.behaviour.seed.share("failing", &[self.device.as_str(), module]) < self.behaviour.failing
    }

    fn generate(&self, module: ModuleId, stop: CancellationToken) {
        let Behaviour { seed, interval, messages, .. } = self.behaviour;
        let names = [self.device.as_str(), module.as_str()];
        let generator = Generator {
            first: interval.mul_f64(seed.share("first", &names)),
            seed: seed.number("walk", &names),
            edge: Arc::clone(&self.edge),
            identity: Identity::module(self.device.clone(), module),
            interval,
            messages,
            clock: Arc::clone(&self.clock),
        };
        self.tasks.spawn(generator.run(stop));
    }
}

#[async_trait]
impl ModuleRuntime for Generators {
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError> {
        Ok(self.lock().values().map(Module::state).collect())
    }

    async fn prepare(&self, _: &str, _: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError> {
        let module = Module {
            status: ModuleStatus::Stopped,
            started_at: None,
            exited_at: None,
            exit_code: None,
            stop: CancellationToken::new(),
            specification,
        };
        let old = self.lock().insert(module.specification.name.clone(), module);
        if let Some(old) = old {
            old.stop.cancel();
        }
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), RuntimeError> {
        let mut modules = self.lock();
        let module = modules.get_mut(name).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?;
        if module.status == ModuleStatus::Running {
            return Ok(());
        }
        let now = self.clock.timestamp();
        module.started_at = Some(now);
        if name != EDGE_HUB && self.fails(name) {
            (module.status, module.exit_code) = (ModuleStatus::Failed, Some(FAILED));
            module.exited_at = Some(now);
            self.exits.send_modify(|count| *count += 1);
            return Ok(());
        }
        (module.status, module.exit_code, module.exited_at) = (ModuleStatus::Running, None, None);
        module.stop = CancellationToken::new();
        if name != EDGE_HUB {
            let id = ModuleId::new(name)
                .map_err(|error| RuntimeError::Invalid { name: name.to_owned(), reason: error.to_string() })?;
            self.generate(id, module.stop.clone());
        }
        Ok(())
    }

    async fn stop(&self, name: &str, _: Duration) -> Result<(), RuntimeError> {
        let mut modules = self.lock();
        let module = modules.get_mut(name).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?;
        if module.status == ModuleStatus::Running {
            module.stop.cancel();
            (module.status, module.exit_code) = (ModuleStatus::Stopped, Some(0));
            module.exited_at = Some(self.clock.timestamp());
        }
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        let removed = self.lock().remove(name).ok_or_else(|| RuntimeError::NotFound(name.to_owned()))?;
        removed.stop.cancel();
        Ok(())
    }

    async fn logs(&self, name: &str, _: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError> {
        let at = match self.lock().get(name) {
            Some(module) => module.started_at.unwrap_or_else(|| self.clock.timestamp()),
            None => return Err(RuntimeError::NotFound(name.to_owned())),
        };
        let (lines, received) = mpsc::channel(1);
        let text = format!("{name} is a generator: modules of a fleet are no programs and print nothing");
        // There is room for one.
        let _ = lines.try_send(LogLine { at, stream: LogStream::Stdout, text });
        Ok(received)
    }

    fn exits(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}

impl Module {
    fn state(&self) -> ModuleState {
        let description = match self.exit_code.filter(|_| self.status != ModuleStatus::Running) {
            Some(code) => format!("exited with code {code}"),
            None => self.status.to_string(),
        };
        ModuleState {
            name: self.specification.name.clone(),
            image: self.specification.image.clone(),
            image_description: Some("a generator".to_owned()),
            image_hash: None,
            status: self.status,
            description,
            exit_code: self.exit_code,
            started_at: self.started_at,
            exited_at: self.exited_at,
            pid: None,
            limits: None,
            limits_unenforced: None,
        }
    }
}
