//! Where a hub's service API is and what gives access to it.

use std::path::Path;

use edgectl_schemas::sas::SharedKey;
use edgectl_simulator::state::{Endpoints, ServiceAccess, StateDirectory, StateError, read_json};

use crate::error::{CommandError, ErrorKind};
use crate::solution::solution::Solution;

/// A hub, and a key for it.
#[derive(Debug, Clone)]
pub struct HubAccess {
    /// The host name, as tokens name it.
    pub host: String,
    /// The port of its HTTPS listener.
    pub port: u16,
    /// The policy whose key this is.
    pub policy: String,
    /// The key.
    pub key: SharedKey,
    /// Certificates to trust instead of the public ones, PEM.
    pub trust_bundle: Option<String>,
}

/// Access to the cloud hub behind the running device of a solution.
pub fn simulated(solution: &Solution) -> Result<HubAccess, CommandError> {
    let state = solution.device_state();
    let endpoints: Endpoints = read_json(&state.endpoints()).map_err(damaged)?.ok_or_else(no_device)?;
    let access: ServiceAccess = read_json(&state.service()).map_err(damaged)?.ok_or_else(no_device)?;
    if !is_running(&state) {
        return Err(no_device());
    }
    let key = SharedKey::from_base64(&access.shared_access_key)
        .map_err(|error| CommandError::failed(format!("{}: {error}", state.service().display())).hint(START_AFRESH))?;
    Ok(HubAccess {
        host: endpoints.hub_host_name,
        port: endpoints.hub_https_port,
        policy: access.shared_access_key_name,
        key,
        trust_bundle: Some(read_bundle(&endpoints.trust_bundle)?),
    })
}

/// What to do about state that is damaged.
pub const START_AFRESH: &str =
    "Run `edgectl sim down`, remove the directory `.edgectl` and start again: it holds nothing but state.";

/// The error when a command needs a running device and there is none.
pub fn no_device() -> CommandError {
    CommandError::new(ErrorKind::Failed, "no simulated device is running for this solution")
        .hint("Run `edgectl sim up -d` to start one.")
}

/// The error for state that cannot be read.
pub fn damaged(error: StateError) -> CommandError {
    CommandError::failed(error.to_string()).hint(START_AFRESH)
}

/// Whether a device holds the lock of its state directory.
pub fn is_running(state: &StateDirectory) -> bool {
    matches!(state.lock(), Err(StateError::Running { .. }))
}

fn read_bundle(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path)
        .map_err(|error| CommandError::failed(format!("{}: {error}", path.display())).hint(START_AFRESH))
}
