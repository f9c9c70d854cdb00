//! `edgectl status`.

use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::link::Conditions;
use edgectl_simulator::requests::DeviceStatus;
use edgectl_simulator::state::StateDirectory;
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::{ask, block_on, control_error};
use crate::commands::module_name;
use crate::commands::sim::network::described;
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl status
  edgectl status filter sensor
  edgectl status filter --json | jq -r '.modules[0].status'";

/// Show the simulated device: modules, routes, what waits and what arrived
#[derive(Debug, clap::Args)]
#[command(
    before_help = EXAMPLES,
    after_help = "Exit status 1 when no device is running, or it has no module of one of the names."
)]
pub struct Args {
    /// Show these modules alone; without any, all
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
}

/// A device at a glance.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Shown(pub DeviceStatus);

impl Report for Shown {
    fn text(&self, style: Style) -> String {
        let status = &self.0;
        let mut text = format!(
            "Device {}  edge hub {}  cloud hub {}\n",
            style.bold(&status.endpoints.device_id),
            status.endpoints.gateway_host_name,
            status.endpoints.hub_host_name
        );
        text.push_str(kept(&status.hub));
        text.push_str(&deployment(status));
        if !status.modules.is_empty() {
            text.push('\n');
            text.push_str(&columns(&module_rows(status)));
        }
        let routes = route_rows(&status.hub);
        if routes.len() > 1 {
            text.push('\n');
            text.push_str(&columns(&routes));
        }
        text.push_str(&network(&status.network));
        text.push_str(&format!("\nMessages received by the cloud hub: {}\n", status.received_by_cloud));
        text
    }
}

/// What is wrong with the network to the hub above, if anything is.
fn network(conditions: &Conditions) -> String {
    let mut text = if conditions.online { String::new() } else { "\nThe device is offline.\n".to_owned() };
    for (direction, faults) in [("up", &conditions.up), ("down", &conditions.down)] {
        if let Some(faults) = described(faults) {
            text.push_str(&format!("\nNetwork {direction}: {faults}\n"));
        }
    }
    text
}

/// What acknowledged messages outlive.
fn kept(hub: &Value) -> &'static str {
    match hub.get("durability").and_then(Value::as_str) {
        Some("memory") => "Messages are in memory alone and end with the device.\n",
        Some("power") => "Acknowledged messages outlive a loss of power.\n",
        _ => "Acknowledged messages outlive the device's process.\n",
    }
}

fn deployment(status: &DeviceStatus) -> String {
    let code = status.deployment.get("code").and_then(Value::as_u64);
    let why = status.deployment.get("description").and_then(Value::as_str).unwrap_or_default();
    let mut text = match (code, status.deployment_version) {
        // The agent's word for desired properties that nobody has set yet.
        (Some(417), Some(1)) => "Nothing is deployed yet.\n".to_owned(),
        (Some(200), Some(version)) => format!("Deployment {version} is applied.\n"),
        (Some(code), Some(version)) => format!("Deployment {version}: status {code}: {why}\n"),
        _ => "Nothing is deployed yet.\n".to_owned(),
    };
    if let Some(reason) = status.hub.get("refused").and_then(Value::as_str) {
        text.push_str(&format!("The edge hub refuses its configuration: {reason}\n"));
    }
    text
}

fn module_rows(status: &DeviceStatus) -> Vec<Vec<String>> {
    let mut rows = vec![["MODULE", "STATUS", "HUB", "RESTARTS", "RUNS AS", "DESCRIPTION"].map(str::to_owned).to_vec()];
    rows.extend(status.modules.iter().map(|module| {
        vec![
            module.name.clone(),
            module.status.clone(),
            if module.connected { "connected" } else { "-" }.to_owned(),
            module.restarts.to_string(),
            module.runs_as.clone().unwrap_or_else(|| module.image.clone()),
            module.description.clone(),
        ]
    }));
    rows
}

fn route_rows(hub: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![["ROUTE", "MESSAGES", "TEXT"].map(str::to_owned).to_vec()];
    let Some(Value::Object(routes)) = hub.get("routes") else { return rows };
    rows.extend(routes.iter().map(|(name, text)| {
        let count = hub.pointer("/counters/routed").and_then(|counts| counts.get(name)).and_then(Value::as_u64);
        vec![name.clone(), count.unwrap_or_default().to_string(), text.as_str().unwrap_or_default().to_owned()]
    }));
    rows
}

/// Asks the running device.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let state = context.solution()?.device_state();
    let mut status = block_on(fetch(&state))?.map_err(control_error)?;
    if !args.modules.is_empty() {
        let known: Vec<&str> = status.modules.iter().map(|module| module.name.as_str()).collect();
        module_name::check(&args.modules, &known, &state)?;
        status.modules.retain(|module| args.modules.contains(&module.name));
    }
    context.printer.result(&Shown(status));
    Ok(())
}

/// What a device says of itself.
pub async fn fetch(state: &StateDirectory) -> Result<DeviceStatus, ControlError> {
    let value = ask(state, &Request::Status).await?;
    serde_json::from_value(value).map_err(|error| ControlError::Failed(format!("a status that is none: {error}")))
}

/// The error of a deployment that the device refuses.
pub fn refused(status: &DeviceStatus) -> Option<CommandError> {
    let code = status.deployment.get("code").and_then(Value::as_u64).unwrap_or_default();
    let why = status.deployment.get("description").and_then(Value::as_str).unwrap_or_default();
    let hub = status.hub.get("refused").and_then(Value::as_str);
    match (code, hub) {
        (400 | 412 | 417, _) => Some(CommandError::new(ErrorKind::Failed, format!("the agent answered {code}: {why}"))),
        (_, Some(reason)) => {
            Some(CommandError::new(ErrorKind::Failed, format!("the edge hub refuses its routes: {reason}")))
        }
        _ => None,
    }
}
