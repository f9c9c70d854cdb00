//! `edgectl metrics`.

use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::metrics::{Family, Kind, Sample};
use serde::Serialize;

use crate::commands::device::{ask, block_on, control_error};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl metrics                                 all, as text that Prometheus reads
  edgectl metrics edgehub_messages                those whose names begin so
  edgectl metrics --json edgehub_queue_length | jq '.[].samples[].value'";

/// Show the edge hub's metrics, with the real hub's names, in the text format of Prometheus
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 1 when no device is running.")]
pub struct Args {
    /// Only metrics whose names begin so
    prefix: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Metrics(Vec<Family>);

impl Report for Metrics {
    fn text(&self, _style: Style) -> String {
        let mut text = String::new();
        for family in &self.0 {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Summary => "summary",
            };
            let Family { name, help, .. } = family;
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for sample in &family.samples {
                text.push_str(&line(sample));
            }
        }
        text
    }
}

fn line(sample: &Sample) -> String {
    let labels: Vec<String> =
        sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let value = sample.value.map_or_else(|| "NaN".to_owned(), |value| value.to_string());
    format!("{}{{{}}} {value}\n", sample.name, labels.join(","))
}

/// A label's value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Asks the running device.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let families = block_on(async {
        let value = ask(&solution.device_state(), &Request::Metrics).await?;
        serde_json::from_value::<Vec<Family>>(value)
            .map_err(|error| ControlError::Failed(format!("metrics that are none: {error}")))
    })?
    .map_err(control_error)?;
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let families = families.into_iter().filter(|family| family.name.starts_with(prefix)).collect();
    context.printer.result(&Metrics(families));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_silence_is_not_a_number() {
        let labels = [("id".to_owned(), "a\"\\\n".to_owned())].into_iter().collect();
        let sample = Sample { name: "m".to_owned(), labels, value: None };
        assert_eq!(line(&sample), "m{id=\"a\\\"\\\\\\n\"} NaN\n");
    }
}
