//! Names of modules of the running device, in arguments: one that no module has brings the one that may be meant.

use edgectl_schemas::diagnostic::did_you_mean;
use edgectl_simulator::control::ControlError;
use edgectl_simulator::state::StateDirectory;

use crate::commands::device::control_error;
use crate::commands::status;
use crate::error::CommandError;

/// The parts of a device that are containers on a real one.
const OF_THE_DEVICE: [&str; 4] = ["edgeAgent", "edgeHub", "$edgeAgent", "$edgeHub"];

/// Refuses a name that no module of the device has, and says which may be meant.
pub fn check(names: &[String], known: &[&str], state: &StateDirectory) -> Result<(), CommandError> {
    let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
    let error = CommandError::failed(format!("the device has no module {unknown}"));
    Err(if OF_THE_DEVICE.contains(&unknown.as_str()) {
        error.hint(format!(
            "Here the edge agent and the edge hub are parts of the device and no modules. What they say is in {}, or in \
             the terminal of `edgectl sim up`; see also `edgectl status` and `edgectl metrics`.",
            state.log().display()
        ))
    } else if let Some(meant) = did_you_mean(unknown, known.iter().copied()) {
        error.hint(format!("Did you mean `{meant}`?"))
    } else if known.is_empty() {
        error.hint("It has no modules: run `edgectl deploy` first.")
    } else {
        error.hint(format!("Its modules are: {}.", known.join(", ")))
    })
}

/// Why a request about modules failed: because of their names, or because of what the device says.
pub async fn error(error: ControlError, names: &[String], state: &StateDirectory) -> CommandError {
    if let (ControlError::Failed(_), Ok(status)) = (&error, status::fetch(state).await) {
        let known: Vec<&str> = status.modules.iter().map(|module| module.name.as_str()).collect();
        if let Err(unknown) = check(names, &known, state) {
            return unknown;
        }
    }
    control_error(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(name: &str, known: &[&str]) -> String {
        let state = StateDirectory::new("/solution/.edgectl".as_ref());
        check(&[name.to_owned()], known, &state).unwrap_err().hints().join("")
    }

    #[test]
    fn an_unknown_name_brings_the_closest_one_or_all_of_them() {
        let state = StateDirectory::new("/solution/.edgectl".as_ref());
        assert!(check(&["filter".to_owned()], &["filter", "sensor"], &state).is_ok());
        assert_eq!(hint("Fliter", &["filter", "sensor"]), "Did you mean `filter`?");
        assert_eq!(hint("x", &["filter", "sensor"]), "Its modules are: filter, sensor.");
        assert_eq!(hint("x", &[]), "It has no modules: run `edgectl deploy` first.");
        assert!(hint("$edgeHub", &["filter"]).contains("/solution/.edgectl/device/device.log"));
    }
}
