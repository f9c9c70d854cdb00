//! The subcommands of `edgectl message`.

use crate::error::CommandError;
use crate::settings::Context;

/// Send messages, and see what became of them
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Send(super::send::Args),
    Trace(super::trace::Args),
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::Send(args) => super::send::run(args, context),
        Command::Trace(args) => super::trace::run(&args, context),
    }
}
