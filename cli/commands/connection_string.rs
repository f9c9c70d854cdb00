//! `edgectl connection-string`.

use std::path::PathBuf;

use edgectl_simulator::state::{Endpoints, ServiceAccess, read_json, write_private};
use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::service::access;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl connection-string                          of the owner, who may do everything
  edgectl connection-string service -o service.txt   into a file that only you can read";

/// The connection string of the simulated cloud hub that service SDKs and tools take
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The shared access policy: iothubowner, service, device, registryRead, registryReadWrite or provisioningserviceowner
    #[arg(default_value = "iothubowner")]
    policy: String,
    /// Write it into this file, for you alone, and do not print it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    policy: String,
    trust_bundle: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_to: Option<PathBuf>,
}

impl Report for Shown {
    fn text(&self, _style: Style) -> String {
        match (&self.connection_string, &self.written_to) {
            (Some(text), _) => format!("{text}\n"),
            (None, Some(path)) => format!("The connection string is in {}.\n", path.display()),
            (None, None) => String::new(),
        }
    }
}

/// Prints it or writes it down.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let state = context.solution()?.device_state();
    let endpoints: Endpoints = read_json(&state.endpoints()).map_err(access::damaged)?.ok_or_else(access::no_device)?;
    let service: ServiceAccess = read_json(&state.service()).map_err(access::damaged)?.ok_or_else(access::no_device)?;
    let text = service.connection_string(&endpoints.hub_host_name, &args.policy).ok_or_else(|| {
        CommandError::usage(format!("there is no policy {:?}", args.policy))
            .hint("Run `edgectl connection-string --help` to see the policies.")
    })?;
    let written_to = args.output.map(|path| context.settings.directory.join(path));
    if let Some(path) = &written_to {
        write_private(path, format!("{text}\n").as_bytes()).map_err(|error| CommandError::failed(error.to_string()))?;
    }
    let connection_string = written_to.is_none().then_some(text);
    let shown = Shown { policy: args.policy, trust_bundle: endpoints.trust_bundle, connection_string, written_to };
    context.printer.result(&shown);
    Ok(())
}
