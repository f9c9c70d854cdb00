//! `edgectl route eval`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};

use edgectl_schemas::document::document::MAX_BYTES;
use edgectl_schemas::route::body::evaluation::Evaluation;
use edgectl_schemas::route::body::paths::BodyPaths;
use edgectl_schemas::route::condition::compile::Condition;
use edgectl_schemas::route::error::RouteError;
use edgectl_schemas::route::message::MessageView as _;
use edgectl_schemas::route::parser::{Route, parse_condition};
use edgectl_schemas::route::source::{MessageSource, SourcePattern};
use serde::Deserialize;
use serde_json::{Value, json};

use super::message::{Message, WrittenMessage};
use crate::error::CommandError;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  echo '{\"id\": 1, \"condition\": \"as_number(t) > 20\", \"message\": {\"properties\": {\"t\": \"21\"}}}' | edgectl route eval
  edgectl route eval < cases.jsonl > results.jsonl

A line is {\"id\", \"route\" or \"condition\", \"message\": {\"body\" or \"bodyBase64\", \"properties\", \"systemProperties\",
\"source\"}}; each answer is {\"id\", \"result\": true, false, \"undefined\" or \"error\", \"error\"}.";

/// How many bytes of answers are put off, at most.
const ENOUGH: usize = 64 * 1024;

/// Most compiled texts that are kept; a pipeline asks the same few again and again.
const KEPT: usize = 1024;

/// Evaluate routes and conditions from standard input, a line of JSON each
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {}

/// What can be true of a message.
pub struct Question {
    /// None for a condition that stands alone.
    source: Option<SourcePattern>,
    condition: Condition,
    paths: BodyPaths,
}

impl Question {
    /// Whether it is true of a message as JSON has it: `{"body", "properties", "systemProperties"}`.
    pub fn is_true_of(&self, message: &Value) -> bool {
        let written = serde_json::from_value::<WrittenMessage>(message.clone()).map_err(|error| error.to_string());
        let message = written.and_then(Message::try_from);
        message.is_ok_and(|message| self.condition.evaluate(&Evaluation::new(&message, &self.paths)) == Some(true))
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: Value,
    route: Option<String>,
    condition: Option<String>,
    message: Option<WrittenMessage>,
}

/// Answers line by line.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut known = HashMap::new();
    let mut answers = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input).take(MAX_BYTES as u64 + 1).read_until(b'\n', &mut line);
        let count = read.map_err(|error| CommandError::failed(format!("standard input: {error}")))?;
        if count > MAX_BYTES {
            return Err(CommandError::usage(format!("a line of standard input has more than {MAX_BYTES} bytes")));
        }
        if count > 0 && !line.trim_ascii().is_empty() {
            answers.extend(answer(&line, &mut known).to_string().into_bytes());
            answers.push(b'\n');
        }
        // Whoever waits for an answer before the next question gets it; in bulk, writing is put off.
        if count == 0 || answers.len() >= ENOUGH || !input.buffer().contains(&b'\n') {
            context.printer.raw(&answers);
            answers.clear();
        }
        if count == 0 {
            return Ok(());
        }
    }
}

fn answer(line: &[u8], known: &mut HashMap<String, Result<Question, String>>) -> Value {
    let line: Line = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(error) => {
            let id = serde_json::from_slice::<Value>(line).ok().and_then(|value| value.get("id").cloned());
            return json!({ "id": id, "result": "error", "error": format!("the line cannot be read: {error}") });
        }
    };
    match evaluate(line.route, line.condition, line.message.unwrap_or_default(), known) {
        Ok(Some(result)) => json!({ "id": line.id, "result": result }),
        Ok(None) => json!({ "id": line.id, "result": "undefined" }),
        Err(error) => json!({ "id": line.id, "result": "error", "error": error }),
    }
}

fn evaluate(
    route: Option<String>,
    condition: Option<String>,
    message: WrittenMessage,
    known: &mut HashMap<String, Result<Question, String>>,
) -> Result<Option<bool>, String> {
    let (text, is_route) = match (route, condition) {
        (Some(route), None) => (route, true),
        (None, Some(condition)) => (condition, false),
        _ => return Err("a line has `route` or `condition`".to_owned()),
    };
    let message = Message::try_from(message)?;
    let key = format!("{}{text}", if is_route { 'r' } else { 'c' });
    if known.len() >= KEPT && !known.contains_key(&key) {
        known.clear();
    }
    let question = known.entry(key).or_insert_with(|| compile(&text, is_route));
    let question = question.as_ref().map_err(Clone::clone)?;
    if let Some(pattern) = &question.source
        && !pattern.matches(MessageSource::new(message.source()))
    {
        return Ok(Some(false));
    }
    Ok(question.condition.evaluate(&Evaluation::new(&message, &question.paths)))
}

/// Compiles a route, or a condition that stands alone.
pub fn compile(text: &str, is_route: bool) -> Result<Question, String> {
    let mut paths = BodyPaths::default();
    let shown = |errors: Vec<RouteError>| {
        let mut text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        text.dedup();
        text.join("; ")
    };
    if is_route {
        let route = Route::parse(text).map_err(|error| error.to_string())?;
        let condition = route.compile_condition(text, &mut paths).map_err(shown)?;
        return Ok(Question { source: Some(route.source.pattern), condition, paths });
    }
    let expression = parse_condition(text).map_err(|error| error.to_string())?;
    let condition = Condition::compile(text, expression.as_ref(), &mut paths).map_err(shown)?;
    Ok(Question { source: None, condition, paths })
}
