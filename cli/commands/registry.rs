//! `edgectl registry`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;
use tokio::net::TcpListener;

use crate::commands::device::{Signals, block_on};
use crate::error::{CommandError, ErrorKind};
use crate::image::registry::server::RegistryServer;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::solution::{STATE_DIRECTORY, Solution};

const EXAMPLES: &str = "\
Examples:
  edgectl registry serve               on port 5000, keeping images in the solution's state
  edgectl registry serve --port 5001 --directory images";

/// Run a small registry for images on this machine
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve images on 127.0.0.1 until interrupted
    Serve(Serve),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// The port; 0 takes one that is free
    #[arg(long, default_value_t = 5000)]
    port: u16,
    /// Where images are kept [default: in the solution's state]
    #[arg(long = "directory", value_name = "DIRECTORY")]
    place: Option<PathBuf>,
}

#[derive(Serialize)]
struct Serving {
    address: String,
    directory: PathBuf,
}

impl Report for Serving {
    fn text(&self, _style: Style) -> String {
        format!("Serving {} at {}\n", self.directory.display(), self.address)
    }
}

/// Serves.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let Command::Serve(Serve { port, place }) = args.command;
    let settings = &context.settings;
    let directory = match place {
        Some(place) => settings.directory.join(place),
        None => match Solution::root_of(&settings.directory) {
            Some(root) => root.join(STATE_DIRECTORY).join("registry"),
            None => {
                return Err(CommandError::usage("there is no solution here to keep images in")
                    .hint("Name a place with --directory."));
            }
        },
    };
    let server = RegistryServer::open(&directory)?;
    block_on(async {
        let mut signals = Signals::listen()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
            CommandError::failed(format!("127.0.0.1:{port}: {error}")).hint("Choose another port with --port.")
        })?;
        let address = listener.local_addr().map_err(|error| CommandError::failed(error.to_string()))?;
        context.printer.item(&Serving { address: address.to_string(), directory });
        tokio::select! {
            served = server.serve(listener) => served.map_err(|error| CommandError::failed(error.to_string())),
            signal = signals.next() => match signal.kind {
                ErrorKind::Interrupted | ErrorKind::Terminated => Ok(()),
                _ => Err(signal),
            },
        }
    })?
}
