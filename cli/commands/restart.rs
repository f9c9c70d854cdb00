//! `edgectl restart`.

use edgectl_simulator::control::Request;
use edgectl_simulator::state::StateDirectory;
use serde::Serialize;

use crate::commands::device::{Signals, ask, block_on, control_error};
use crate::commands::{module_name, status};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl restart filter
  edgectl restart filter sensor";

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
    let status = status::fetch(state).await.map_err(control_error)?;
    let known: Vec<&str> = status.modules.iter().map(|module| module.name.as_str()).collect();
    module_name::check(&modules, &known, state)?;
    for module in &modules {
        let request = Request::Restart { module: module.clone() };
        ask(state, &request).await.map_err(control_error)?;
    }
    Ok(Restarted { restarted: modules })
}
