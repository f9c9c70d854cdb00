//! `edgectl method`.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::commands::device::block_on;
use crate::commands::target;
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl method invoke SimulatedTemperatureSensor reset
  edgectl method invoke '$edgeAgent' ping
  edgectl method invoke filter set '{\"level\": 3}' --response-timeout 60
  edgectl method invoke --leaf thermometer reset";

/// Call direct methods
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Invoke(Invoke),
}

/// Call a direct method of a module or a leaf device and show what it answers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status 1 when the module answers with a status that is not 2xx, 7 when it does not answer."
)]
struct Invoke {
    /// MODULE METHOD [PAYLOAD]; with --leaf only METHOD [PAYLOAD]. The module may be `$edgeAgent` or `$edgeHub`; the
    /// payload is JSON, `@FILE`, or `-` for standard input
    #[arg(required = true, num_args = 1..=3, value_name = "MODULE METHOD PAYLOAD")]
    arguments: Vec<String>,
    /// Call this leaf device
    #[arg(long, value_name = "DEVICE")]
    leaf: Option<String>,
    /// Seconds to wait for a module that is not connected
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=300))]
    connect_timeout: u64,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=300))]
    response_timeout: u64,
}

#[derive(Serialize)]
struct Answer {
    status: i64,
    payload: Value,
}

impl Report for Answer {
    fn text(&self, _style: Style) -> String {
        match &self.payload {
            Value::Null => format!("status {}\n", self.status),
            payload => format!("status {}\n{payload:#}\n", self.status),
        }
    }
}

/// Calls the method.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let Command::Invoke(args) = args.command;
    let solution = context.solution()?;
    let (identity, method, payload) = match (&args.leaf, &args.arguments[..]) {
        (Some(leaf), [method, payload @ ..]) if payload.len() < 2 => (target::leaf(leaf)?, method, payload.first()),
        (None, [module, method, payload @ ..]) => (target::identity(&solution, Some(module))?, method, payload.first()),
        _ => {
            return Err(CommandError::usage("a module and a method, or --leaf and a method, are needed")
                .hint("`edgectl method invoke --help` has examples."));
        }
    };
    let payload =
        payload.map(|text| target::json_argument(text, &context.settings.directory, "the payload")).transpose()?;
    let payload = payload.unwrap_or_default();
    let client = ServiceClient::new(access::simulated(&solution)?)?;
    let (connect, response) = (Duration::from_secs(args.connect_timeout), Duration::from_secs(args.response_timeout));
    let answer = block_on(client.invoke(&identity, method, &payload, connect, response))??;
    let answer = Answer {
        status: answer.get("status").and_then(Value::as_i64).unwrap_or_default(),
        payload: answer.get("payload").cloned().unwrap_or_default(),
    };
    context.printer.result(&answer);
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(CommandError::shown(ErrorKind::Failed)) }
}
