//! `edgectl sim plan`, which `edgectl deploy --plan` is too.

use std::path::{Path, PathBuf};

use edgectl_simulator::agent::forecast::{Action, Change, ModuleForecast};
use edgectl_simulator::control::Request;
use edgectl_simulator::plan::DevicePlan;
use serde::Serialize;
use serde_json::Value;

use crate::commands::device::{ask, block_on, control_error};
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::manifest;

const EXAMPLES: &str = "\
Examples:
  edgectl sim plan                       what `edgectl deploy` would change
  edgectl sim plan deployment.json       what this manifest would change
  edgectl sim plan --detailed-exitcode   exit status 8 when something would change";

/// Show what the device would do about a deployment, and why; nothing is changed
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 0, or 8 with --detailed-exitcode when something would change.")]
pub struct Args {
    /// Plan this manifest and not the solution's template
    manifest: Option<PathBuf>,
    /// The platform whose images are planned
    #[arg(long, env = "DEFAULT_PLATFORM", default_value = "amd64")]
    platform: String,
    /// Exit with status 8 when something would change
    #[arg(long)]
    detailed_exitcode: bool,
}

/// The plan, for people and programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    manifest: String,
    has_changes: bool,
    #[serde(flatten)]
    plan: DevicePlan,
}

impl Report for Shown {
    fn text(&self, style: Style) -> String {
        if !self.has_changes {
            return format!("{} changes nothing.\n", self.manifest);
        }
        let mut text = format!("{} would change the device:\n", self.manifest);
        for module in &self.plan.agent.modules {
            text.push_str(&module_text(module, style));
        }
        text.push_str(&section("Edge hub", &self.plan.hub, style));
        for (module, changes) in &self.plan.twins {
            text.push_str(&section(&format!("Twin of {module}"), changes, style));
        }
        let steps: Vec<String> =
            self.plan.agent.steps.iter().map(|step| format!("{} {}", step.step, step.module)).collect();
        if !steps.is_empty() {
            text.push_str(&format!("\nThe agent would, in this order: {}\n", steps.join(", ")));
        }
        text
    }
}

fn module_text(module: &ModuleForecast, style: Style) -> String {
    let (word, why) = match module.action {
        Action::Create => (style.green("create"), "it is not on the device"),
        Action::Update => (style.yellow("update"), "it is replaced"),
        Action::Remove => (style.red("remove"), "it is not in the deployment"),
        Action::Restart => (style.yellow("restart"), "it ended, and its wait is over"),
        Action::Start => (style.green("start"), "it should run"),
        Action::Stop => (style.yellow("stop"), "it should not run"),
        Action::Unchanged => (style.dim("unchanged"), ""),
    };
    let order = module.startup_order.map(|order| format!(" (startup order {order})")).unwrap_or_default();
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let mut text = format!("  {word} {}{order}{why}\n", style.bold(&module.name));
    for change in &module.changes {
        text.push_str(&format!("      {}\n", change_text(change)));
    }
    text
}

/// A heading, and changes below it.
pub fn section(title: &str, changes: &[Change], style: Style) -> String {
    let lines: Vec<String> = changes.iter().map(|change| format!("  {}\n", change_text(change))).collect();
    if lines.is_empty() { String::new() } else { format!("\n{}\n{}", style.bold(title), lines.concat()) }
}

fn change_text(change: &Change) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{}: {} -> {}", change.property, shown(from), shown(to)),
        (None, Some(to)) => format!("{}: new: {}", change.property, shown(to)),
        (Some(from), None) => format!("{}: gone; was {}", change.property, shown(from)),
        (None, None) => format!("{}: changed", change.property),
    }
}

/// Shows the plan for a manifest, or for the solution's template.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    show(args.manifest.as_deref(), &args.platform, args.detailed_exitcode, context)
}

/// Asks the running device what it would do, and shows it.
pub fn show(file: Option<&Path>, platform: &str, detailed: bool, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let manifest = match file {
        Some(path) => manifest::read(&context.settings.directory.join(path), context)?,
        None => manifest::render(&solution, platform, context)?,
    };
    let request = Request::Plan { modules_content: manifest.modules_content };
    let answer = block_on(ask(&solution.device_state(), &request))?.map_err(control_error)?;
    let plan: DevicePlan = serde_json::from_value(answer)
        .map_err(|error| CommandError::failed(format!("the device's plan cannot be read: {error}")))?;
    let has_changes = plan.has_changes();
    context.printer.result(&Shown { manifest: manifest.name, has_changes, plan });
    if detailed && has_changes { Err(CommandError::shown(ErrorKind::Changes)) } else { Ok(()) }
}
