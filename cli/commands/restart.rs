//! `edgectl restart`.

use edgectl_simulator::control::Request;
use edgectl_simulator::requests::DeviceStatus;
use edgectl_simulator::state::StateDirectory;
use serde::Serialize;

use crate::commands::device::{Signals, ask, block_on, control_error};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl restart filter
  edgectl restart filter sensor";

/// How alike two names are, from 0 to 1, for one to be meant by the other.
const CLOSE: f64 = 0.8;

/// Restart modules of the running device
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "No module is restarted when one of the names is unknown: exit status 1.")]
pub struct Args {
    /// The modules
    #[arg(required = true, value_name = "MODULE")]
    modules: Vec<String>,
}

/// The modules that were restarted, in the order asked for.
#[derive(Serialize)]
struct Restarted {
    restarted: Vec<String>,
}

impl Report for Restarted {
    fn text(&self, _style: Style) -> String {
        format!("Restarted {}\n", self.restarted.join(", "))
    }
}

/// Restarts one module after the other.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let state = solution.device_state();
    let restarted = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            result = restart(args.modules, &state) => result,
            signal = signals.next() => Err(signal),
        }
    })??;
    context.printer.result(&restarted);
    Ok(())
}

async fn restart(mut modules: Vec<String>, state: &StateDirectory) -> Result<Restarted, CommandError> {
    let mut seen = std::collections::HashSet::new();
    modules.retain(|module| seen.insert(module.clone()));
    let status = ask(state, &Request::Status).await.map_err(control_error)?;
    let status: DeviceStatus = serde_json::from_value(status)
        .map_err(|error| CommandError::failed(format!("the device's status: {error}")))?;
    let known: Vec<&str> = status.modules.iter().map(|module| module.name.as_str()).collect();
    for module in &modules {
        check_name(module, &known)?;
    }
    for module in &modules {
        let request = Request::Restart { module: module.clone() };
        ask(state, &request).await.map_err(control_error)?;
    }
    Ok(Restarted { restarted: modules })
}

/// Refuses a name that no module of the device has, and says which may be meant.
fn check_name(module: &str, known: &[&str]) -> Result<(), CommandError> {
    if known.contains(&module) {
        return Ok(());
    }
    let error = CommandError::failed(format!("the device has no module {module}"));
    let closest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &module.to_lowercase()), name))
        .max_by(|left, right| left.0.total_cmp(&right.0));
    Err(match closest {
        Some((likeness, name)) if likeness > CLOSE => error.hint(format!("Did you mean `{name}`?")),
        Some(_) => error.hint(format!("Its modules are: {}.", known.join(", "))),
        None => error.hint("It has no modules: run `edgectl deploy` first."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(module: &str, known: &[&str]) -> String {
        check_name(module, known).unwrap_err().hints().join("")
    }

    #[test]
    fn an_unknown_name_brings_the_closest_one_or_all_of_them() {
        assert!(check_name("filter", &["filter", "sensor"]).is_ok());
        assert_eq!(hint("Fliter", &["filter", "sensor"]), "Did you mean `filter`?");
        assert_eq!(hint("x", &["filter", "sensor"]), "Its modules are: filter, sensor.");
        assert_eq!(hint("x", &[]), "It has no modules: run `edgectl deploy` first.");
    }
}
