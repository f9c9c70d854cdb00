//! Where a deployment for one device goes: the simulated device of the solution, or that of a target.

use std::time::{Duration, Instant};

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_simulator::requests::ModuleStatus;
use edgectl_simulator::state::{Endpoints, read_json};
use serde_json::{Value, json};

use super::apply;
use super::history::History;
use crate::error::{CommandError, ErrorKind};
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::manifest::Manifest;
use crate::solution::solution::{SOLUTION_FILE, Solution};

/// How often the hub is asked how far the device is.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The agent's code in its last report before it ends.
const NOT_RUNNING: u64 = 406;

/// A device behind a hub.
pub struct Place {
    /// The hub.
    pub service: ServiceClient,
    /// The device.
    pub device: DeviceId,
    /// What was deployed there.
    pub history: History,
    is_simulated: bool,
}

impl Place {
    /// The device of a target, or else the solution's own.
    pub fn find(to: Option<&str>, solution: &Solution, context: &Context) -> Result<Self, CommandError> {
        let Some(name) = to else {
            let endpoints: Option<Endpoints> =
                read_json(&solution.device_state().endpoints()).map_err(access::damaged)?;
            if endpoints.is_some_and(|endpoints| endpoints.fleet_devices.is_some()) {
                return Err(CommandError::usage(format!("{} is a fleet", solution.device))
                    .hint("Deploy to its devices with `--configuration NAME --target-condition CONDITION`."));
            }
            let service = ServiceClient::new(access::simulated(solution)?)?;
            let history = History::of_device(solution, &solution.device);
            return Ok(Self { service, device: solution.device.clone(), history, is_simulated: true });
        };
        let (access, target) = access::target(solution, name, context)?;
        let device = target.device.ok_or_else(|| {
            CommandError::usage(format!("target {name} names no device"))
                .hint(format!("Set `device:` of the target in {SOLUTION_FILE}, or give `--configuration NAME`."))
        })?;
        let device =
            DeviceId::new(&device).map_err(|error| CommandError::usage(format!("device {device:?}: {error}")))?;
        let history = History::of_target(solution, name);
        Ok(Self { service: ServiceClient::new(access)?, device, history, is_simulated: false })
    }

    /// Applies a manifest; with a time waits until the modules run, or, where that cannot be seen, until the agent has taken
    /// it. Returns the modules where they are known.
    pub async fn deploy(
        &self,
        solution: &Solution,
        manifest: &Manifest,
        timeout: Option<Duration>,
    ) -> Result<Option<Vec<ModuleStatus>>, CommandError> {
        if self.is_simulated {
            let status = apply::apply(&self.service, &solution.device_state(), solution, manifest, timeout).await?;
            return Ok(status.map(|status| status.modules));
        }
        self.service.apply(self.device.as_str(), &json!({ "modulesContent": manifest.modules_content })).await?;
        self.history.record(manifest)?;
        match timeout {
            None => Ok(None),
            Some(timeout) => self.wait(timeout).await.map(|()| None),
        }
    }

    /// The twin of the device's agent.
    pub async fn agent(&self) -> Result<Value, CommandError> {
        self.service.twin(&Identity::module(self.device.clone(), ModuleId::edge_agent())).await
    }

    async fn wait(&self, timeout: Duration) -> Result<(), CommandError> {
        let (device, deadline) = (&self.device, Instant::now() + timeout);
        loop {
            let twin = self.agent().await?;
            let number = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64);
            let wanted = number("/properties/desired/$version");
            let status = "/properties/reported/lastDesiredStatus";
            let code = number(&format!("{status}/code"));
            let is_answered = wanted.is_some() && number("/properties/reported/lastDesiredVersion") == wanted;
            if is_answered && code == Some(200) {
                return Ok(());
            }
            let text = twin.pointer(&format!("{status}/description")).and_then(Value::as_str).unwrap_or_default();
            if let Some(code) = code.filter(|code| is_answered && *code != NOT_RUNNING) {
                return Err(CommandError::failed(format!("{device} does not take it: {code} {text}")));
            }
            if Instant::now() > deadline {
                let text = match code.filter(|_| is_answered) {
                    Some(code) => format!("{device} has not done all of it yet: {code} {text}"),
                    None => format!("the agent of {device} has not taken the deployment yet"),
                };
                return Err(CommandError::new(ErrorKind::TimedOut, text)
                    .hint("A device that is not connected takes it when it comes back."));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
