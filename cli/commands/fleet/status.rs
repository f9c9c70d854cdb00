//! `edgectl fleet status`.

use std::collections::BTreeMap;

use edgectl_simulator::control::Request;
use edgectl_simulator::fleet::status::{FleetStatus, Progress};
use serde::Serialize;

use super::command::{ask, solution};
use crate::commands::device::block_on;
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
struct Status(FleetStatus);

impl Report for Status {
    fn text(&self, style: Style) -> String {
        let FleetStatus { fleet, devices, connected, modules_running, received_by_cloud, messages_per_second, .. } =
            &self.0;
        let mut text = format!(
            "Fleet {}: {devices} devices, {connected} connected, {modules_running} modules running\n{received_by_cloud} messages in the cloud, {messages_per_second} a second\n",
            style.bold(fleet),
        );
        text.push_str(&progress_table(&self.0.configurations, style));
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

/// How far configurations are.
pub(super) fn progress_table(configurations: &BTreeMap<String, Progress>, style: Style) -> String {
    if configurations.is_empty() {
        return "There is no configuration.\n".to_owned();
    }
    let names = ["CONFIGURATION", "PRIORITY", "TARGETED", "APPLIED", "SUCCEEDED", "FAILED", "CONDITION"];
    let mut rows = vec![names.iter().map(|name| style.bold(name)).collect::<Vec<_>>()];
    rows.extend(configurations.iter().map(|(id, progress)| {
        let count = |name: &str| progress.counts.get(name).copied().unwrap_or_default().to_string();
        let counts = ["targetedCount", "appliedCount", "reportedSuccessfulCount", "reportedFailedCount"];
        let mut row = vec![id.clone(), progress.priority.to_string()];
        row.extend(counts.map(count));
        row.push(progress.target_condition.clone());
        row
    }));
    columns(&rows)
}

/// Asks the running fleet.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = solution(context)?;
    let status = block_on(ask(&solution, &Request::Fleet))??;
    context.printer.result(&Status(status));
    Ok(())
}
