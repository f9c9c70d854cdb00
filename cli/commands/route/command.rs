//! The subcommands of `edgectl route`.

use crate::error::CommandError;
use crate::settings::Context;

/// Try routes on messages
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Test(super::test::Args),
    Eval(super::eval::Args),
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::Test(args) => super::test::run(&args, context),
        Command::Eval(args) => super::eval::run(&args, context),
    }
}
