//! Where a hub's service API is and what gives access to it.

use std::path::Path;

use edgectl_schemas::diagnostic::did_you_mean;
use edgectl_schemas::sas::SharedKey;
use edgectl_simulator::state::{Endpoints, ServiceAccess, StateDirectory, StateError, read_json};

use crate::error::{CommandError, ErrorKind};
use crate::settings::Context;
use crate::solution::solution::{SOLUTION_FILE, Solution, Target};

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
    /// Whether it is the hub behind the solution's own device.
    pub is_simulated: bool,
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
        is_simulated: true,
    })
}

/// Access to a hub that the solution file names. The connection string comes from the environment or from a file.
pub fn target(solution: &Solution, name: &str, context: &Context) -> Result<(HubAccess, Target), CommandError> {
    let target = solution.targets.get(name).ok_or_else(|| {
        let error = CommandError::usage(format!("{SOLUTION_FILE} has no target {name:?}"));
        match did_you_mean(name, solution.targets.keys().map(String::as_str)) {
            Some(near) => error.hint(format!("Did you mean `--to {near}`?")),
            None => error.hint(format!("Name the hub under `targets` in {SOLUTION_FILE}.")),
        }
    })?;
    let text = match (&target.connection_string_variable, &target.connection_string_file) {
        (Some(variable), None) => context.settings.environment.get(variable).cloned().ok_or_else(|| {
            CommandError::usage(format!("target {name}: the environment variable {variable} is not set")).hint(
                "It holds the connection string of a policy: `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`.",
            )
        })?,
        (None, Some(file)) => std::fs::read_to_string(solution.root.join(file))
            .map_err(|error| CommandError::usage(format!("target {name}: {}: {error}", file.display())))?,
        _ => {
            let text = format!("target {name} has to have one of connectionStringVariable and connectionStringFile");
            return Err(CommandError::new(ErrorKind::Findings, text));
        }
    };
    let trust_bundle = match &target.trust_bundle {
        Some(file) => Some(
            std::fs::read_to_string(solution.root.join(file))
                .map_err(|error| CommandError::usage(format!("target {name}: {}: {error}", file.display())))?,
        ),
        None => None,
    };
    let access = of_connection_string(&text, trust_bundle)
        .map_err(|what| CommandError::usage(format!("target {name}: the connection string {what}")))?;
    Ok((access, target.clone()))
}

/// Reads `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`. The error does not repeat any of it.
fn of_connection_string(text: &str, trust_bundle: Option<String>) -> Result<HubAccess, String> {
    let part = |wanted: &str| {
        let parts = text.trim().split(';').filter_map(|part| part.split_once('='));
        let mut found = parts.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
        found.next().filter(|value| !value.is_empty()).ok_or_else(|| format!("has no {wanted}"))
    };
    if part("DeviceId").is_ok() {
        return Err("is a device's, and that of a policy is needed".to_owned());
    }
    let key =
        SharedKey::from_base64(part("SharedAccessKey")?).map_err(|_| "has a key that is not base64".to_owned())?;
    let (host, port) = match part("HostName")?.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| "has a port that is none".to_owned())?),
        None => (part("HostName")?, 443),
    };
    let (host, policy) = (host.to_owned(), part("SharedAccessKeyName")?.to_owned());
    Ok(HubAccess { host, port, policy, key, trust_bundle, is_simulated: false })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_of_policies_are_read_and_told_of_without_their_keys() {
        let read = |text: &str| of_connection_string(text, None);
        let found = read("HostName=hub.example:8443;SharedAccessKeyName=service;SharedAccessKey=a2V5\n").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.policy.as_str()), ("hub.example", 8443, "service"));
        for (text, what) in [
            ("", "has no SharedAccessKey"),
            ("HostName=h;SharedAccessKeyName=s;SharedAccessKey=*secret*", "has a key that is not base64"),
            ("HostName=h;SharedAccessKey=a2V5", "has no SharedAccessKeyName"),
            ("HostName=h;DeviceId=d;SharedAccessKey=a2V5", "is a device's, and that of a policy is needed"),
        ] {
            assert_eq!(read(text).unwrap_err(), what);
        }
    }
}
