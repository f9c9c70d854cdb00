//! `edgectl fleet report`.

use std::time::{Duration, Instant};

use edgectl_simulator::control::Request;
use edgectl_simulator::fleet::report::FleetReport;
use serde::Serialize;

use super::command::{ask, solution};
use super::status::progress_table;
use crate::commands::device::{Signals, block_on};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

/// How often it is asked whether all is done.
const INTERVAL: Duration = Duration::from_millis(500);

/// Show what became of a roll-out: what does not depend on when it is looked at
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Fleets of the same seed to which the same was done have the same digest, in however many processes they run. For that, \
messages have to have an end: `edgectl fleet up --messages NUMBER`.")]
pub struct Args {
    /// Wait until all devices have done what they are to do
    #[arg(long)]
    wait: bool,
    /// How long, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    timeout: u32,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Told(FleetReport);

impl Report for Told {
    fn text(&self, style: Style) -> String {
        let FleetReport { fleet, waiting_for, digest, outcome, .. } = &self.0;
        let messages = outcome.messages.map(|messages| format!(", {messages} messages")).unwrap_or_default();
        let mut text = format!(
            "Fleet {}: {} devices, {} of them fail{messages}\n",
            style.bold(fleet),
            outcome.devices.len(),
            outcome.failing
        );
        text.push_str(&progress_table(&outcome.configurations, style));
        if let Some(waiting_for) = waiting_for {
            text.push_str(&format!("{} is waited for: {waiting_for}\n", style.yellow("This is not the end")));
        }
        text.push_str(&format!("digest {digest}\n"));
        text
    }
}

/// Asks the running fleet, until it is done if that is wanted.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = solution(context)?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout.into());
    let mut noted = None;
    let report = block_on(async {
        let mut signals = Signals::listen()?;
        loop {
            let report: FleetReport = tokio::select! {
                report = ask(&solution, &Request::FleetReport) => report?,
                signal = signals.next() => return Err(signal),
            };
            if !args.wait || report.settled || Instant::now() >= deadline {
                return Ok(report);
            }
            if noted != report.waiting_for {
                context.printer.note(&format!("waiting for {}", report.waiting_for.clone().unwrap_or_default()));
                noted = report.waiting_for;
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                signal = signals.next() => return Err(signal),
            }
        }
    })??;
    let waiting_for = report.waiting_for.clone().filter(|_| args.wait);
    context.printer.result(&Told(report));
    match waiting_for {
        None => Ok(()),
        Some(waiting_for) => {
            Err(CommandError::failed(format!("after {} seconds the fleet waits for {waiting_for}", args.timeout))
                .hint("`edgectl fleet status` names devices on which something is wrong; give a longer --timeout."))
        }
    }
}
