//! `edgectl metrics`.

use edgectl_schemas::diagnostic::did_you_mean;
use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::metrics::{Family, text};
use serde::Serialize;

use crate::commands::device::{ask, block_on, control_error};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl metrics                            all, as text that Prometheus reads
  edgectl metrics edgeAgent                  those whose names begin so
  edgectl metrics --json edgehub_queue_length | jq '.[].samples[].value'
  edgectl sim up -d --metrics-port 9600      let Prometheus read them, at the address that this prints";

/// Show the metrics of the edge hub and the edge agent, in the text format of Prometheus
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 1 when no device is running.")]
pub struct Args {
    /// Only metrics whose names begin so, in upper or lower case
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Metrics(Vec<Family>);

impl Report for Metrics {
    fn text(&self, _style: Style) -> String {
        text::write(&self.0)
    }
}

/// Asks the running device.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let mut families = block_on(async {
        let value = ask(&solution.device_state(), &Request::Metrics).await?;
        serde_json::from_value::<Vec<Family>>(value)
            .map_err(|error| ControlError::Failed(format!("metrics that are none: {error}")))
    })?
    .map_err(control_error)?;
    let prefix = args.prefix.to_ascii_lowercase();
    let known: Vec<String> = families.iter().map(|family| family.name.clone()).collect();
    families.retain(|family| family.name.to_ascii_lowercase().starts_with(&prefix));
    if families.is_empty() {
        // No error: it may be one that nothing was counted of yet.
        let meant = did_you_mean(&args.prefix, known.iter().map(String::as_str));
        let meant = meant.map(|meant| format!(" Did you mean `{meant}`?")).unwrap_or_default();
        context.printer.note(&format!("There is no metric yet whose name begins with {:?}.{meant}", args.prefix));
    }
    context.printer.result(&Metrics(families));
    Ok(())
}
