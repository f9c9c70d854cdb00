//! Applying a manifest to the simulated device of the solution, and waiting until its modules run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use edgectl_schemas::ids::{Identity, ModuleId};
use edgectl_simulator::profile::budget::{self, Excess};
use edgectl_simulator::requests::{DeviceStatus, ModuleStatus};
use edgectl_simulator::state::{Endpoints, StateDirectory, read_json};
use serde_json::{Value, json};

use super::history::History;
use crate::commands::device::control_error;
use crate::commands::status;
use crate::error::{CommandError, ErrorKind};
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::solution::manifest::Manifest;
use crate::solution::solution::Solution;

/// How often the device is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A module that does not connect to the hub counts as up when it has run for so long.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Applies a manifest to the solution's device, and waits until its modules run if there is a time for that.
pub async fn apply(
    service: &ServiceClient,
    state: &StateDirectory,
    solution: &Solution,
    manifest: &Manifest,
    timeout: Option<Duration>,
) -> Result<Option<DeviceStatus>, CommandError> {
    fit(state, manifest)?;
    service.apply(solution.device.as_str(), &json!({ "modulesContent": manifest.modules_content })).await?;
    History::of_device(solution, &solution.device).record(manifest)?;
    match timeout {
        None => Ok(None),
        Some(timeout) => settle(service, state, solution, manifest, timeout).await.map(Some),
    }
}

/// Waits until the device has taken what was applied last and its modules run.
pub async fn settle(
    service: &ServiceClient,
    state: &StateDirectory,
    solution: &Solution,
    manifest: &Manifest,
    timeout: Duration,
) -> Result<DeviceStatus, CommandError> {
    let agent = Identity::module(solution.device.clone(), ModuleId::edge_agent());
    let twin = service.twin(&agent).await?;
    let version = twin.pointer("/properties/desired/$version").and_then(Value::as_u64).unwrap_or_default();
    wait(state, manifest, version, timeout).await
}

/// Whether the device's profile has room for a manifest; what it can give only for a while comes back.
pub fn fit(state: &StateDirectory, manifest: &Manifest) -> Result<Vec<String>, CommandError> {
    let endpoints: Option<Endpoints> = read_json(&state.endpoints()).map_err(access::damaged)?;
    let Some(profile) = endpoints.and_then(|endpoints| endpoints.profile) else { return Ok(Vec::new()) };
    let desired = manifest.modules_content.pointer("/$edgeAgent/properties.desired").unwrap_or(&Value::Null);
    let Excess { refused, warned } = budget::check_desired(&profile, desired);
    if refused.is_empty() {
        return Ok(warned);
    }
    Err(CommandError::new(ErrorKind::Findings, refused.join("; "))
        .hint("Lower `HostConfig.Memory`, `NanoCpus` or `StorageOpt` in the modules' create options.")
        .hint("Or start the device with a larger machine: `edgectl sim profiles` lists them."))
}

/// Waits until the device has taken a version and its modules run.
async fn wait(
    state: &StateDirectory,
    manifest: &Manifest,
    version: u64,
    timeout: Duration,
) -> Result<DeviceStatus, CommandError> {
    let deadline = Instant::now() + timeout;
    let mut watched = Watched::default();
    loop {
        let status = status::fetch(state).await.map_err(control_error)?;
        let is_taken = status.deployment_version.is_some_and(|taken| taken >= version);
        if is_taken && let Some(error) = status::refused(&status) {
            return Err(error.hint("Run `edgectl validate` to see where the mistake is."));
        }
        let waiting = manifest.waiting_for(&watched.up(&status.modules));
        if is_taken {
            if let Some(error) = broken(&status) {
                return Err(error);
            }
            if waiting.is_empty() {
                return Ok(status);
            }
        }
        if Instant::now() > deadline {
            return Err(late(&status, is_taken, &waiting));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// How long the modules have been running.
#[derive(Default)]
struct Watched {
    since: HashMap<String, (Option<u32>, Instant)>,
}

impl Watched {
    /// The modules that are up: they run, and have either found their hub or not ended for a while.
    fn up(&mut self, modules: &[ModuleStatus]) -> Vec<String> {
        let now = Instant::now();
        let mut up = Vec::new();
        for module in modules.iter().filter(|module| module.status == "running") {
            let (process, since) = self.since.entry(module.name.clone()).or_insert((module.process, now));
            if *process != module.process {
                (*process, *since) = (module.process, now);
            }
            if module.connected || now.duration_since(*since) >= SETTLE_TIME {
                up.push(module.name.clone());
            }
        }
        up
    }
}

/// A module that does not stay up, or cannot be started at all.
fn broken(status: &DeviceStatus) -> Option<CommandError> {
    let module = status.modules.iter().find(|module| matches!(module.status.as_str(), "backoff" | "failed"));
    if let Some(module) = module {
        let message = format!("module {} does not stay up: {}", module.name, module.description);
        let hint = format!("Run `edgectl logs {}` to see what it printed.", module.name);
        return Some(CommandError::failed(message).hint(hint));
    }
    let code = status.deployment.get("code").and_then(Value::as_u64)?;
    let why = status.deployment.get("description").and_then(Value::as_str).unwrap_or_default();
    (code >= 400).then(|| {
        CommandError::failed(format!("the agent answered {code}: {why}"))
            .hint("Mend that, and run `edgectl deploy` again; `edgectl status` shows all modules.")
    })
}

fn late(status: &DeviceStatus, is_taken: bool, waiting: &[String]) -> CommandError {
    let message = if is_taken {
        let states = status.modules.iter().filter(|module| waiting.contains(&module.name));
        let states: Vec<String> = states.map(|module| format!("{} is {}", module.name, module.status)).collect();
        let states = if states.is_empty() { waiting.join(", ") } else { states.join(", ") };
        format!("not all modules run yet: {states}")
    } else {
        "the agent has not taken the deployment yet".to_owned()
    };
    CommandError::new(ErrorKind::TimedOut, message).hint("Run `edgectl status` to see how far it is.")
}
