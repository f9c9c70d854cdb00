//! `edgectl logs`.

use edgectl_simulator::control::{self, Next, Request};
use edgectl_simulator::runtime::log_time;
use edgectl_simulator::state::StateDirectory;
use jiff::Timestamp;
use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::{Signals, block_on, control_error};
use crate::commands::module_name;
use crate::error::CommandError;
use crate::output::printer::{Printer, Report};
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl logs                           what all modules printed, in the order of time
  edgectl logs filter -f --tail 20
  edgectl logs filter sensor --since 10m
  edgectl logs --filter 'error|refused' --since 2026-01-31T08:00:00Z";

/// Show what modules printed
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The modules; without any, all of the device
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// Go on with new lines
    #[arg(short, long)]
    follow: bool,
    /// Of each module only the last so many lines of what is there, before the filter
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Nothing older: a time, as in 2026-01-31T08:00:00Z, or how long ago, as in 90s, 10m or 1d
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Nothing newer: likewise
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "follow")]
    until: Option<Timestamp>,
    /// Only lines that this regular expression is found in
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
}

/// A time as it is given in arguments.
pub fn time(text: &str) -> Result<Timestamp, String> {
    log_time::parse(text, Timestamp::now()).map_err(|error| error.to_string())
}

/// A line: `{"timestamp", "module", "stream", "text"}`.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    value: Value,
    #[serde(skip)]
    is_named: bool,
}

impl Line {
    fn part(&self, name: &str) -> &str {
        self.value.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Report for Line {
    fn text(&self, style: Style) -> String {
        let text = self.part("text");
        if self.is_named { format!("{} {text}\n", style.bold(self.part("module"))) } else { format!("{text}\n") }
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
    let is_named = args.modules.len() != 1;
    let Args { modules, follow, tail, since, until, filter } = args;
    let request = Request::Logs { modules: modules.clone(), follow, tail, since, until };
    let mut conversation = control::ask(&state.control_socket(), &request).await.map_err(control_error)?;
    loop {
        let value = match conversation.next().await {
            Ok(Next::Item(value)) => value,
            Ok(Next::Done(_)) => break,
            Err(error) => return Err(module_name::error(error, &modules, state).await),
        };
        let line = Line { value, is_named };
        if filter.as_ref().is_none_or(|filter| filter.is_match(line.part("text"))) {
            printer.item(&line);
        }
    }
    Ok(())
}
