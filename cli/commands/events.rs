//! `edgectl events`.

use edgectl_simulator::control::{self, Next, Request};
use edgectl_simulator::state::StateDirectory;
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::{Signals, block_on, control_error};
use crate::error::CommandError;
use crate::output::printer::{Printer, Report};
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl events                    what has reached the cloud hub so far
  edgectl events -f                 and what comes
  edgectl events -f --count 10      until ten have come
  edgectl events --json | jq .body";

/// Show the messages that reached the cloud hub
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// Go on with new messages
    #[arg(short, long)]
    follow: bool,
    /// Start with the message of this sequence number
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    from: u64,
    /// End after so many messages
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

/// A message as the cloud hub keeps it; with `--json` a line each.
#[derive(Serialize)]
#[serde(transparent)]
struct Event(Value);

impl Report for Event {
    fn text(&self, style: Style) -> String {
        let text = |name: &str| self.0.get(name).and_then(Value::as_str).unwrap_or_default();
        let source = match text("moduleId") {
            "" => text("deviceId").to_owned(),
            module => format!("{}/{module}", text("deviceId")),
        };
        let mut line = format!("{} {}", style.dim(text("enqueuedTime")), style.bold(&source));
        if let Some(Value::Object(properties)) = self.0.get("properties") {
            for (name, value) in properties {
                line.push_str(&format!(" {name}={}", value.as_str().unwrap_or_default()));
            }
        }
        match self.0.get("body") {
            Some(Value::String(body)) => format!("{line}\n  {body}\n"),
            Some(body) => format!("{line}\n  {body}\n"),
            None => format!("{line}\n"),
        }
    }
}

/// Prints messages until there are no more, enough, or Ctrl-C.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let state = solution.device_state();
    block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            result = show(&args, &state, &context.printer) => result,
            signal = signals.next() => Err(signal),
        }
    })?
}

async fn show(args: &Args, state: &StateDirectory, printer: &Printer) -> Result<(), CommandError> {
    let request = Request::Events { follow: args.follow, from: args.from };
    let mut conversation = control::ask(&state.control_socket(), &request).await.map_err(control_error)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        match conversation.next().await.map_err(control_error)? {
            Next::Item(event) => printer.item(&Event(event)),
            Next::Done(_) => break,
        }
        left -= 1;
    }
    Ok(())
}
