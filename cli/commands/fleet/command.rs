//! What `edgectl fleet` can do.

use edgectl_simulator::control::{ControlError, Request};
use serde::de::DeserializeOwned;

use super::{down, image, report, status, up};
use crate::commands::device;
use crate::error::CommandError;
use crate::settings::Context;
use crate::solution::solution::Solution;

/// What a fleet is called that is given no name.
const NAME: &str = "fleet";

const EXAMPLES: &str = "\
Examples:
  edgectl fleet up --devices 200 -d
  edgectl fleet up --devices 1000 --tag site=berlin:60%,paris:40% --failing 5% --offline 10% -d
  edgectl --device fleet deploy --configuration base --target-condition \"tags.site = 'berlin'\" --priority 10
  edgectl fleet status
  edgectl --device fleet events -f
  edgectl fleet down";

/// Many simulated devices behind one cloud hub, to rehearse a roll-out
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
#[command(after_help = "Commands that work with a cloud hub reach that of the fleet with `--device fleet`.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Up(up::Args),
    Status(status::Args),
    Report(report::Args),
    Image(image::Args),
    Down(down::Args),
}

/// Does one of them.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::Up(args) => up::run(&args, context),
        Command::Status(args) => status::run(&args, context),
        Command::Report(args) => report::run(&args, context),
        Command::Image(args) => image::run(&args, context),
        Command::Down(args) => down::run(&args, context),
    }
}

/// The solution with its fleet in place of its device: `--device` may name another fleet.
pub(super) fn solution(context: &Context) -> Result<Solution, CommandError> {
    let solution = context.solution()?;
    if solution.device_is_own { solution.with_device(NAME) } else { Ok(solution) }
}

/// Asks the running fleet.
pub(super) async fn ask<T: DeserializeOwned>(solution: &Solution, request: &Request) -> Result<T, CommandError> {
    let told = device::ask(&solution.device_state(), request).await.map_err(|error| match error {
        ControlError::NotRunning => CommandError::failed("no fleet is running for this solution")
            .hint("Run `edgectl fleet up --devices 100 -d` to start one."),
        other => device::control_error(other),
    })?;
    serde_json::from_value(told).map_err(|error| CommandError::failed(error.to_string()))
}

/// What other commands need to work with a fleet.
pub(super) fn flag(solution: &Solution) -> String {
    format!("--device {}", solution.device)
}
