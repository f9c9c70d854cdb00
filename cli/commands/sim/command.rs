//! The subcommands of `edgectl sim`.

use crate::error::CommandError;
use crate::settings::Context;

/// Run the simulated device
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Up(super::up::Args),
    Down(super::down::Args),
    List(super::list::Args),
    Network(super::network::Args),
    Plan(super::plan::Args),
    Profiles(super::profiles::Args),
    Snapshot(super::snapshot::Args),
    Restore(super::snapshot::RestoreArgs),
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::Up(args) => super::up::run(args, context),
        Command::Down(args) => super::down::run(&args, context),
        Command::List(args) => {
            super::list::run(&args, context);
            Ok(())
        }
        Command::Network(args) => super::network::run(&args, context),
        Command::Plan(args) => super::plan::run(args, context),
        Command::Profiles(args) => super::profiles::run(&args, context),
        Command::Snapshot(args) => super::snapshot::run(args, context),
        Command::Restore(args) => super::snapshot::restore(&args, context),
    }
}
