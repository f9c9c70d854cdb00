//! `edgectl message trace`: why did it not arrive?

use std::collections::HashMap;

use edgectl_simulator::control::Request;
use edgectl_simulator::trail::{QueueState, QueueTrace, Trace, Wanted};
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::device::{ask, block_on, control_error};
use crate::commands::route::message::Message;
use crate::commands::route::test::{Step, trial};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl message trace                 the last message
  edgectl message trace --last 10
  edgectl message trace 1234            by the number that `message send` and this command print
  edgectl message trace reading-17      by the message identifier that the sender gave

The edge hub remembers its last 256 messages: where each came from, what every route made of it, and where it is.";

/// Follow messages through the edge hub: each route with its verdict, the queues, the delivery
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// A message's number, or the identifier that its sender gave it
    id: Option<String>,
    /// The last so many messages [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "id")]
    last: Option<usize>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Traces(Vec<Followed>);

/// A message, and what became of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Followed {
    number: u64,
    message_id: Option<String>,
    taken_at: String,
    from: String,
    source: String,
    properties: HashMap<String, Option<String>>,
    system_properties: HashMap<String, Option<String>>,
    body: String,
    routes: Vec<Verdict>,
    queues: Vec<Queue>,
    outcome: &'static str,
}

/// What a route made of a message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    name: String,
    route: String,
    /// `taken`, `otherSource`, `refused` or `undefined`.
    result: &'static str,
    steps: Vec<Step>,
}

/// Where a message is with respect to a queue.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    endpoint: String,
    priority: u32,
    state: QueueState,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    waiting: usize,
}

/// Asks the device and tells.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let state = context.solution()?.device_state();
    let wanted = match &args.id {
        Some(id) => Wanted::Identifier(id.clone()),
        None => Wanted::Last(args.last.unwrap_or(1)),
    };
    let answer = block_on(ask(&state, &Request::Trace { wanted }))?.map_err(control_error)?;
    let traces: Vec<Trace> = serde_json::from_value(answer)
        .map_err(|error| CommandError::failed(format!("the device's answer: {error}")))?;
    if let (Some(id), true) = (&args.id, traces.is_empty()) {
        return Err(CommandError::failed(format!("the edge hub remembers no message {id}"))
            .hint("It remembers its last 256; `edgectl message trace --last 10` shows the newest."));
    }
    context.printer.result(&Traces(traces.into_iter().map(followed).collect()));
    Ok(())
}

fn followed(trace: Trace) -> Followed {
    let message = Message::traced(&trace);
    let verdicts = trace.routes.iter().flatten().filter_map(|(name, text)| {
        let tried = trial(text, &message)?;
        Some(Verdict { name: name.clone(), route: text.clone(), result: tried.result, steps: tried.steps })
    });
    let queues: Vec<Queue> = trace.queues.iter().map(|queue| shown(queue, trace.at_ms)).collect();
    Followed {
        number: trace.number,
        message_id: trace.message_id.clone(),
        taken_at: time(trace.at_ms),
        from: trace.from.clone(),
        source: trace.source.clone(),
        routes: verdicts.collect(),
        outcome: outcome(&queues),
        queues,
        body: String::from_utf8_lossy(&trace.body).into_owned(),
        properties: trace.properties.into_iter().collect(),
        system_properties: trace.system_properties.into_iter().collect(),
    }
}

/// What became of it altogether.
fn outcome(queues: &[Queue]) -> &'static str {
    let any = |state| queues.iter().any(|queue| queue.state == state);
    if queues.is_empty() {
        "noRoute"
    } else if any(QueueState::Waiting) {
        "waiting"
    } else if any(QueueState::Expired) {
        "expired"
    } else if any(QueueState::Rejected) {
        "rejected"
    } else {
        "delivered"
    }
}

fn shown(queue: &QueueTrace, taken_ms: u64) -> Queue {
    Queue {
        endpoint: queue.endpoint.clone(),
        priority: queue.priority,
        state: queue.state,
        settled_at: queue.settled_ms.map(time),
        waited_ms: queue.settled_ms.map(|at| at.saturating_sub(taken_ms)),
        expires_at: queue.expires_ms.map(time),
        waiting: queue.waiting,
    }
}

fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| ms.to_string(), |at| at.to_string())
}

impl Report for Traces {
    fn text(&self, style: Style) -> String {
        if self.0.is_empty() {
            return "The edge hub has taken no message yet.\n".to_owned();
        }
        let texts: Vec<String> = self.0.iter().map(|message| message.text(style)).collect();
        texts.join("\n")
    }
}

impl Followed {
    fn text(&self, style: Style) -> String {
        let named = self.message_id.as_ref().map_or_else(String::new, |id| format!(" ({id})"));
        let mut text = format!(
            "{}  {}  from {}, source {}\n",
            style.bold(&format!("Message {}{named}", self.number)),
            self.taken_at,
            self.from,
            self.source
        );
        for verdict in &self.routes {
            let why = match verdict.result {
                "taken" => style.green("takes it"),
                "otherSource" => "comes from elsewhere".to_owned(),
                "undefined" => style.yellow("the condition is undefined"),
                _ => style.yellow("the condition is false"),
            };
            text.push_str(&format!("  route {}: {why}\n", verdict.name));
            if matches!(verdict.result, "undefined" | "refused") {
                for step in &verdict.steps {
                    text.push_str(&format!("    {}{}  {}\n", "  ".repeat(step.level), step.part, step.result));
                }
            }
        }
        for queue in &self.queues {
            text.push_str(&format!("  queue {}: {}\n", queue.endpoint, queue.words(style)));
        }
        if self.queues.is_empty() {
            text.push_str(&format!("  {}\n", style.yellow("dropped: no route takes it")));
        }
        text
    }
}

impl Queue {
    fn words(&self, style: Style) -> String {
        let at = self.settled_at.as_ref().map_or_else(String::new, |at| format!(" at {at}"));
        let waited = self.waited_ms.map_or_else(String::new, |waited| format!(", after {waited} ms"));
        match self.state {
            QueueState::Delivered => format!("{}{at}{waited}", style.green("delivered and acknowledged")),
            QueueState::Expired => format!("{}{at}", style.yellow("dropped: its time to live ran out")),
            QueueState::Rejected => format!("{}{at}", style.yellow("dropped: the endpoint refused it for good")),
            QueueState::Waiting => {
                let until = self.expires_at.as_ref().map_or_else(String::new, |at| format!(", until {at} at most"));
                format!("{} among {} messages{until}", style.yellow("waiting"), self.waiting)
            }
        }
    }
}
