//! What edgectl starts itself for: modules, and shards of fleets. Nothing here is for people.

use std::ffi::OsString;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use edgectl_simulator::builtin::catalog::Builtin;
use edgectl_simulator::builtin::{filter, temperature_sensor};
use edgectl_simulator::fleet::shard::{self, ShardOrder};
use edgectl_simulator::runtime::launcher;
use tokio::sync::oneshot;

use crate::commands::device::{self, Signals, block_on};
use crate::error::{CommandError, chain};
use crate::settings::Context;

/// The name of the hidden command.
pub const NAME: &str = "internal";
/// Its subcommand that becomes a module's program.
pub const EXEC: &str = "exec";
/// Its subcommand that runs a built-in module.
pub const BUILTIN: &str = "builtin";

/// Its subcommand that runs a shard of a fleet.
pub const FLEET_SHARD: &str = "fleet-shard";

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
    /// Run devices of a fleet
    FleetShard {
        /// Where it is said which; a line of standard input where this is not given, whose end is then the shard's
        #[arg(long)]
        order: Option<PathBuf>,
    },
}

/// Dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Command::Exec { argv } => {
            let name = argv.get(1).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Err(CommandError::missing(format!("{name}: {}", launcher::exec_module(&argv))))
        }
        Command::Builtin { name } => builtin(&name, context),
        Command::FleetShard { order } => fleet_shard(order.as_deref(), context),
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

fn fleet_shard(path: Option<&Path>, context: &Context) -> Result<(), CommandError> {
    device::start_logging(context.settings.verbose);
    let broken = |what: &dyn std::fmt::Display| CommandError::failed(format!("the shard's order: {what}"));
    let text = match path {
        Some(path) => std::fs::read_to_string(path).map_err(|error| broken(&error))?,
        None => {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map_err(|error| broken(&error))?;
            line
        }
    };
    let order: ShardOrder = serde_json::from_str(&text).map_err(|error| broken(&error))?;
    let (open, closed) = oneshot::channel::<()>();
    // Without a file there is somebody at the other end, who ends the shard by closing it.
    let from_file = if path.is_some() {
        Some(open)
    } else {
        std::thread::spawn(move || {
            let _ = std::io::stdin().lock().read(&mut [0]);
            drop(open);
        });
        None
    };
    block_on(async {
        let mut signals = Signals::listen()?;
        let mut heard = None;
        let end = async {
            tokio::select! {
                _ = closed => {}
                signal = signals.next() => heard = Some(signal),
            }
        };
        shard::run(order, end).await.map_err(device::start_error)?;
        drop(from_file);
        // Whoever stops a shard by a signal is not the fleet: it is to be started again elsewhere.
        heard.map_or(Ok(()), Err)
    })?
}
