//! `edgectl route test`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::{Diagnostic, Findings};
use edgectl_schemas::document::node::Span;
use edgectl_schemas::route::body::evaluation::Evaluation;
use edgectl_schemas::route::body::paths::BodyPaths;
use edgectl_schemas::route::check::check;
use edgectl_schemas::route::condition::compile::Condition;
use edgectl_schemas::route::condition::expression::{Expression, ExpressionKind};
use edgectl_schemas::route::condition::value::Value;
use edgectl_schemas::route::error::Severity;
use edgectl_schemas::route::message::{Lookup, MessageView as _};
use edgectl_schemas::route::parser::Route;
use edgectl_schemas::route::source::MessageSource;
use edgectl_schemas::rules;
use serde::Serialize;

use super::message::{Message, WrittenMessage};
use crate::error::{CommandError, ErrorKind};
use crate::output::diagnostics;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl route test 'FROM /messages/* WHERE as_number(t) > 20 INTO $upstream' --message hot.json
  echo '{\"properties\": {\"t\": \"21\"}}' | edgectl route test 'FROM /* WHERE t = 21 INTO $upstream' --message -

A message is {\"body\", \"properties\", \"systemProperties\", \"source\"}.";

/// Say whether a message would take a route, and if not, why not
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The route's text
    route: String,
    /// A file with the message as JSON; `-` is standard input
    #[arg(long, value_name = "FILE")]
    message: PathBuf,
}

/// What a route makes of a message.
#[derive(Serialize)]
pub struct Tested {
    taken: bool,
    /// `taken`, `otherSource`, `refused` or `undefined`.
    pub result: &'static str,
    /// How it comes to that.
    pub steps: Vec<Step>,
}

/// A part of the route and what the message makes of it.
#[derive(Serialize)]
pub struct Step {
    /// How deep the part lies in the condition.
    #[serde(skip)]
    pub level: usize,
    /// Its text.
    pub part: String,
    /// What it is for the message.
    pub result: String,
}

impl Report for Tested {
    fn text(&self, style: Style) -> String {
        let label = |step: &Step| format!("{}{}", "  ".repeat(step.level), step.part);
        let width = self.steps.iter().map(|step| label(step).chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for step in &self.steps {
            let part = label(step);
            let blanks = " ".repeat(width - part.chars().count());
            text.push_str(&format!("{part}{blanks}  {}\n", step.result));
        }
        let answer = match self.result {
            "taken" => style.green("The message takes the route."),
            "otherSource" => style.yellow("The message does not take the route: it comes from elsewhere."),
            "undefined" => style.yellow("The message does not take the route: the condition is undefined."),
            _ => style.yellow("The message does not take the route: the condition is false."),
        };
        text + &answer + "\n"
    }
}

/// Tries the route, step by step.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let message = read(&args.message, &context.settings.directory)?;
    let checked = check(&args.route);
    let findings = findings(&args.route, &checked.findings);
    if !context.printer.json {
        diagnostics::show(&context.printer, std::slice::from_ref(&findings));
    }
    if checked.findings.iter().any(|finding| finding.severity == Severity::Error) {
        let error = CommandError::new(ErrorKind::Findings, "the route is not valid");
        return Err(if context.printer.json {
            error.details(diagnostics::json(&[findings]).into())
        } else {
            CommandError::shown(ErrorKind::Findings)
        });
    }
    let tested = trial(&args.route, &message)
        .ok_or_else(|| CommandError::new(ErrorKind::Bug, "a route that was checked cannot be compiled"))?;
    context.printer.result(&tested);
    Ok(())
}

fn read(path: &Path, directory: &Path) -> Result<Message, CommandError> {
    let name = path.display();
    let mut text = String::new();
    let done = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(directory.join(path)).map(|read| text = read)
    };
    done.map_err(|error| CommandError::usage(format!("{name}: {error}")))?;
    let wrong = |reason: String| {
        CommandError::usage(format!("{name}: not a message: {reason}"))
            .hint("A message is {\"body\", \"properties\", \"systemProperties\", \"source\"}.")
    };
    let written: WrittenMessage = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Message::try_from(written).map_err(wrong)
}

fn findings(route: &str, findings: &[edgectl_schemas::route::error::Finding]) -> Findings {
    let diagnostics = findings
        .iter()
        .map(|finding| {
            let span = Span::new(finding.span.start, finding.span.end);
            let mut found = Diagnostic::new(rules::of_route(finding.code), span, finding.message.clone());
            found.label.clone_from(&finding.advice);
            found
        })
        .collect();
    Findings { name: "route".to_owned(), source: route.to_owned(), diagnostics }
}

pub fn trial(text: &str, message: &Message) -> Option<Tested> {
    let route = Route::parse(text).ok()?;
    let mut paths = BodyPaths::default();
    let condition = route.compile_condition(text, &mut paths).ok()?;
    let matches = route.source.pattern.matches(MessageSource::new(message.source()));
    let mut steps = vec![Step {
        level: 0,
        part: format!("FROM {}", route.source.span.of(text)),
        result: format!("{} the source {}", if matches { "matches" } else { "does not match" }, message.source()),
    }];
    let truth = condition.evaluate(&Evaluation::new(message, &paths));
    if let Some(expression) = &route.condition {
        explain(text, expression, message, 0, &mut steps);
        steps[1].part.insert_str(0, "WHERE ");
    }
    steps.push(Step { level: 0, part: format!("INTO {}", route.sink.span.of(text)), result: String::new() });
    let result = match (matches, truth) {
        (false, _) => "otherSource",
        (true, Some(true)) => "taken",
        (true, Some(false)) => "refused",
        (true, None) => "undefined",
    };
    Some(Tested { taken: result == "taken", result, steps })
}

/// What a part of the condition is for the message, and below it, what its own parts are.
fn explain(text: &str, expression: &Expression, message: &Message, level: usize, steps: &mut Vec<Step>) {
    let mut paths = BodyPaths::default();
    let Ok(condition) = Condition::compile(text, Some(expression), &mut paths) else { return };
    let evaluation = Evaluation::new(message, &paths);
    let value = shown(&condition.value(&evaluation));
    let result = match &expression.kind {
        ExpressionKind::Literal(_) if level > 0 => return,
        ExpressionKind::Property(name) => match message.property(name) {
            Lookup::Absent => "there is no such property".to_owned(),
            _ => value,
        },
        _ => value,
    };
    steps.push(Step { level, part: expression.span.of(text).to_owned(), result });
    let mut inner = |part: &Expression| explain(text, part, message, level + 1, steps);
    match &expression.kind {
        ExpressionKind::Call { arguments, .. } => arguments.iter().for_each(inner),
        ExpressionKind::Unary { operand, .. } => inner(operand),
        ExpressionKind::Binary { left, right, .. } => {
            inner(left);
            inner(right);
        }
        _ => {}
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::NullText => "a property without a value".to_owned(),
        Value::Object => "an object, an array or a date of the body".to_owned(),
    }
}
