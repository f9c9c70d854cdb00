//! `edgectl events`.

use std::time::Duration;

use edgectl_simulator::control::{self, Next, Request};
use edgectl_simulator::state::StateDirectory;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::{Signals, block_on, control_error};
use crate::commands::logs::time;
use crate::commands::route::eval::{Question, compile};
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::{Printer, Report};
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl events                                  what has reached the cloud hub so far
  edgectl events -f --count 10 --timeout 60       until ten have come, or a minute is over (status 7)
  edgectl events --module filter --where '$body.temperature > 30' --since 10m
  edgectl events --source all --json              also what the hub itself tells: twins, identities, connections";

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
    /// End after so many seconds, with status 7 when fewer messages came than --count says
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Only messages of this device, a leaf device for one
    #[arg(long, value_name = "DEVICE")]
    from_device: Option<String>,
    /// Only messages of this module
    #[arg(long)]
    module: Option<String>,
    /// Only messages with this application property; may be given again
    #[arg(long, value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// Only messages for which this condition of a route is true
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Telemetry, twinChangeEvents, deviceLifecycleEvents, deviceConnectionStateEvents, or all
    #[arg(long, default_value = TELEMETRY)]
    source: String,
    /// Only messages since a time: 10m, 2h, 1d, or as RFC 3339 has it
    #[arg(long, value_parser = time, value_name = "TIME")]
    since: Option<Timestamp>,
}

/// What messages of devices are called among the others.
const TELEMETRY: &str = "Telemetry";
const SOURCES: [&str; 5] =
    [TELEMETRY, "twinChangeEvents", "deviceLifecycleEvents", "deviceConnectionStateEvents", "all"];

/// Which messages are wanted.
struct Filter<'a> {
    args: &'a Args,
    properties: Vec<(&'a str, &'a str)>,
    question: Option<Question>,
}

impl<'a> Filter<'a> {
    fn new(args: &'a Args) -> Result<Self, CommandError> {
        if !SOURCES.iter().any(|source| source.eq_ignore_ascii_case(&args.source)) {
            let text = format!("there is no source {:?}: it is one of {}", args.source, SOURCES.join(", "));
            return Err(CommandError::usage(text));
        }
        let pairs = args.property.iter().map(|text| {
            let wrong = || CommandError::usage(format!("--property {text:?} is not of the form NAME=VALUE"));
            text.split_once('=').ok_or_else(wrong)
        });
        let properties = pairs.collect::<Result<_, _>>()?;
        let question = match &args.condition {
            Some(text) => Some(compile(text, false).map_err(|error| CommandError::usage(format!("--where: {error}")))?),
            None => None,
        };
        Ok(Self { args, properties, question })
    }

    fn wants(&self, event: &Value) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let is =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| text(name) == Some(wanted));
        let source = text("source").unwrap_or(TELEMETRY);
        let of_source = self.args.source.eq_ignore_ascii_case("all") || self.args.source.eq_ignore_ascii_case(source);
        let time = text("enqueuedTime").and_then(|time| time.parse::<Timestamp>().ok());
        let in_time = self.args.since.is_none_or(|since| time.is_none_or(|time| time >= since));
        let has = |(name, value): &(&str, &str)| {
            event.get("properties").and_then(|all| all.get(name)).and_then(Value::as_str) == Some(value)
        };
        of_source
            && in_time
            && is(&self.args.from_device, "deviceId")
            && is(&self.args.module, "moduleId")
            && self.properties.iter().all(has)
            && self.question.as_ref().is_none_or(|question| question.is_true_of(event))
    }
}

/// A message as the cloud hub keeps it; with `--json` a line each.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Event(pub Value);

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
    let filter = Filter::new(&args)?;
    let solution = context.solution()?;
    let state = solution.device_state();
    let limit = args.timeout.map_or(Duration::MAX, Duration::from_secs);
    let mut shown = 0;
    let outcome = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            result = tokio::time::timeout(limit, show(&filter, &state, &context.printer, &mut shown)) => match result {
                Ok(result) => result.map(|()| false),
                Err(_) => Ok(true),
            },
            signal = signals.next() => Err(signal),
        }
    })?;
    match (outcome?, args.count) {
        (true, Some(count)) if shown < count => {
            let text = format!("{shown} of {count} messages came within {} seconds", limit.as_secs());
            Err(CommandError::new(ErrorKind::TimedOut, text))
        }
        _ => Ok(()),
    }
}

async fn show(
    filter: &Filter<'_>,
    state: &StateDirectory,
    printer: &Printer,
    shown: &mut u64,
) -> Result<(), CommandError> {
    let Args { follow, from, count, .. } = *filter.args;
    let request = Request::Events { follow, from };
    let mut conversation = control::ask(&state.control_socket(), &request).await.map_err(control_error)?;
    while count.is_none_or(|count| *shown < count) {
        match conversation.next().await.map_err(control_error)? {
            Next::Item(event) if filter.wants(&event) => {
                printer.item(&Event(event));
                *shown += 1;
            }
            Next::Item(_) => {}
            Next::Done(_) => break,
        }
    }
    Ok(())
}
