//! `edgectl fleet status`.

use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::fleet::report::FleetReport;
use serde::Serialize;

use super::command::solution;
use crate::commands::device::{self, block_on};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

/// Devices that are named of those on which something is wrong.
const NAMED: usize = 10;

/// Show how far the configurations of the fleet are, and which devices fail
#[derive(Debug, clap::Args)]
#[command(after_help = "With --json all devices that fail are named.")]
pub struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct Status(FleetReport);

impl Report for Status {
    fn text(&self, style: Style) -> String {
        let FleetReport { fleet, devices, connected, modules_running, received_by_cloud, messages_per_second, .. } =
            &self.0;
        let mut text = format!(
            "Fleet {}: {devices} devices, {connected} connected, {modules_running} modules running\n{received_by_cloud} messages in the cloud, {messages_per_second} a second\n",
            style.bold(fleet),
        );
        if self.0.configurations.is_empty() {
            text.push_str("There is no configuration.\n");
        } else {
            let names = ["CONFIGURATION", "PRIORITY", "TARGETED", "APPLIED", "SUCCEEDED", "FAILED", "CONDITION"];
            let mut rows = vec![names.iter().map(|name| style.bold(name)).collect::<Vec<_>>()];
            rows.extend(self.0.configurations.iter().map(|(id, progress)| {
                let count = |name: &str| progress.counts.get(name).copied().unwrap_or_default().to_string();
                let counts = ["targetedCount", "appliedCount", "reportedSuccessfulCount", "reportedFailedCount"];
                let mut row = vec![id.clone(), progress.priority.to_string()];
                row.extend(counts.map(count));
                row.push(progress.target_condition.clone());
                row
            }));
            text.push_str(&columns(&rows));
        }
        let failing = &self.0.failing;
        if !failing.is_empty() {
            text.push_str(&format!("{} devices fail:\n", style.red(&failing.len().to_string())));
            for (device, reasons) in failing.iter().take(NAMED) {
                text.push_str(&format!("  {device}: {}\n", reasons.join("; ")));
            }
            if failing.len() > NAMED {
                text.push_str(&format!("  and {} more\n", failing.len() - NAMED));
            }
        }
        text
    }
}

/// Asks the running fleet.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = solution(context)?;
    let told = block_on(device::ask(&solution.device_state(), &Request::Fleet))?.map_err(|error| match error {
        ControlError::NotRunning => CommandError::failed("no fleet is running for this solution")
            .hint("Run `edgectl fleet up --devices 100 -d` to start one."),
        other => device::control_error(other),
    })?;
    let report = serde_json::from_value(told).map_err(|error| CommandError::failed(error.to_string()))?;
    context.printer.result(&Status(report));
    Ok(())
}
