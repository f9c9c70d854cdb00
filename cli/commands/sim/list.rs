//! `edgectl sim list`.

use std::path::PathBuf;

use edgectl_simulator::state::{Endpoints, read_json};
use serde::Serialize;

use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::settings::Context;
use crate::solution::known_devices::{self, KnownDevice};

/// List all simulated devices of this user, running or not, wherever their solutions lie
#[derive(Debug, clap::Args)]
#[command(after_help = "Works in any directory. Devices whose state was removed are forgotten.")]
pub struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct Devices(Vec<Listed>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    device: String,
    solution: PathBuf,
    running: bool,
    /// Its process, while it runs.
    process: Option<u32>,
    /// Where it is reached, or was when it last ran.
    endpoints: Option<Endpoints>,
}

impl Report for Devices {
    fn text(&self, _style: Style) -> String {
        if self.0.is_empty() {
            return "No simulated device was started yet. Run `edgectl sim up -d` in a solution.\n".to_owned();
        }
        let mut rows =
            vec![["DEVICE", "STATUS", "PROCESS", "EDGE HUB", "BELOW", "SOLUTION"].map(str::to_owned).to_vec()];
        rows.extend(self.0.iter().map(|device| {
            let endpoint = |value: Option<&str>| value.unwrap_or("-").to_owned();
            let endpoints = device.endpoints.as_ref();
            vec![
                device.device.clone(),
                if device.running { "running" } else { "stopped" }.to_owned(),
                device.process.map_or_else(|| "-".to_owned(), |process| process.to_string()),
                match endpoints.and_then(|endpoints| endpoints.fleet_devices) {
                    Some(devices) => format!("fleet of {devices}"),
                    None => endpoint(endpoints.map(|endpoints| endpoints.gateway_host_name.as_str())),
                },
                endpoint(endpoints.and_then(|endpoints| endpoints.parent.as_deref())),
                device.solution.display().to_string(),
            ]
        }));
        columns(&rows)
    }
}

/// Lists what is remembered.
pub fn run(_args: &Args, context: &Context) {
    let known = context.settings.device_index.as_deref().map(known_devices::all).unwrap_or_default();
    context.printer.result(&Devices(known.iter().map(listed).collect()));
}

fn listed(known: &KnownDevice) -> Listed {
    let state = known.state();
    let running = access::is_running(&state);
    Listed {
        device: known.device.to_string(),
        solution: known.solution.clone(),
        running,
        process: running.then(|| state.holder()).flatten(),
        // What cannot be read is told by every other command; a list shows the rest.
        endpoints: read_json(&state.endpoints()).ok().flatten(),
    }
}
