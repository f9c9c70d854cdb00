//! `edgectl logs`.

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
  edgectl logs filter
  edgectl logs filter -f --tail 20";

/// Show what a module printed
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The module
    module: String,
    /// Go on with new lines
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines of what is there
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
}

/// A line: `{"timestamp", "stream", "text"}`.
#[derive(Serialize)]
#[serde(transparent)]
struct Line(Value);

impl Report for Line {
    fn text(&self, _style: Style) -> String {
        format!("{}\n", self.0.get("text").and_then(Value::as_str).unwrap_or_default())
    }
}

/// Prints lines until there are no more, or Ctrl-C.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let state = solution.device_state();
    block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            result = show(args, &state, &context.printer) => result,
            signal = signals.next() => Err(signal),
        }
    })?
}

async fn show(args: Args, state: &StateDirectory, printer: &Printer) -> Result<(), CommandError> {
    let request = Request::Logs { module: args.module, follow: args.follow, tail: args.tail };
    let mut conversation = control::ask(&state.control_socket(), &request).await.map_err(control_error)?;
    while let Next::Item(line) = conversation.next().await.map_err(control_error)? {
        printer.item(&Line(line));
    }
    Ok(())
}
