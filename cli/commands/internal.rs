//! What edgectl starts itself for: modules. Nothing here is for people.

use std::ffi::OsString;

use edgectl_simulator::builtin::catalog::Builtin;
use edgectl_simulator::builtin::{filter, temperature_sensor};
use edgectl_simulator::runtime::launcher;

use crate::commands::device::{Signals, block_on};
use crate::error::{CommandError, chain};
use crate::settings::Context;

/// The name of the hidden command.
pub const NAME: &str = "internal";
/// Its subcommand that becomes a module's program.
pub const EXEC: &str = "exec";
/// Its subcommand that runs a built-in module.
pub const BUILTIN: &str = "builtin";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Become a module's program, which ends when the simulator does
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        argv: Vec<OsString>,
    },
    /// Run a built-in module
    Builtin { name: String },
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::Exec { argv } => {
            let name = argv.get(1).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Err(CommandError::missing(format!("{name}: {}", launcher::exec_module(&argv))))
        }
        Command::Builtin { name } => builtin(&name, context),
    }
}

fn builtin(name: &str, context: &Context) -> Result<(), CommandError> {
    let builtin = Builtin::from_word(name).ok_or_else(|| CommandError::usage(format!("no built-in module {name}")))?;
    let environment = context.settings.environment.clone();
    block_on(async {
        let mut signals = Signals::listen()?;
        let work = async {
            match builtin {
                Builtin::TemperatureSensor => temperature_sensor::run(environment).await,
                Builtin::Filter => filter::run(environment).await,
            }
        };
        tokio::select! {
            result = work => result.map_err(|error| CommandError::failed(chain(&error))),
            // To be stopped is how a module ends.
            _ = signals.next() => Ok(()),
        }
    })?
}
