//! `edgectl inspect`.

use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::inspect::Inspection;
use edgectl_simulator::state::StateDirectory;
use serde::Serialize;

use crate::commands::device::{ask, block_on};
use crate::commands::module_name;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl inspect filter
  edgectl inspect filter --json | jq .createOptions";

/// Show all that the running device knows of a module; secrets are hidden
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 1 when no device is running, or it has no such module.")]
pub struct Args {
    /// The module
    module: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Inspection);

/// What the module may use, and whether it is held to that.
fn limits(module: &Inspection) -> String {
    match (&module.limits, &module.limits_unenforced) {
        (None, _) => "-".to_owned(),
        (Some(limits), None) => limits.clone(),
        (Some(limits), Some(why)) => format!("{limits}, not enforced: {why}"),
    }
}

impl Report for Shown {
    fn text(&self, style: Style) -> String {
        let module = &self.0;
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let rows = [
            ("identity", module.identity.clone()),
            ("status", format!("{}: {}", module.status.status, module.status.description)),
            ("connected", if module.status.connected { "yes" } else { "no" }.to_owned()),
            ("image", module.status.image.clone()),
            ("image hash", text(&module.image_hash)),
            ("runs as", text(&module.status.runs_as)),
            ("process", module.status.process.map_or_else(|| "-".to_owned(), |process| process.to_string())),
            ("restarts", module.status.restarts.to_string()),
            ("started", text(&module.started_at)),
            ("last ended", text(&module.exited_at)),
            ("exit code", module.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string())),
            ("limits", limits(module)),
        ];
        let deployment = module
            .deployment
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        let mut shown = format!("{}\n", style.bold(&module.status.name));
        shown.push_str(&section(rows.map(|(name, value)| (name.to_owned(), value))));
        for (title, rows) in [
            ("Deployment", deployment.collect()),
            ("Environment", module.env.clone().into_iter().collect::<Vec<_>>()),
            ("Routes", module.routes.clone().into_iter().collect()),
            ("Waiting", module.queues.iter().map(|(name, length)| (name.clone(), length.to_string())).collect()),
        ] {
            if !rows.is_empty() {
                shown.push_str(&format!("\n{}\n{}", style.bold(title), section(rows)));
            }
        }
        if !module.create_options.is_null() {
            shown.push_str(&format!("\n{}\n  {}\n", style.bold("createOptions"), module.create_options));
        }
        shown
    }
}

fn section(rows: impl IntoIterator<Item = (String, String)>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![format!("  {name}"), value]).collect();
    columns(&rows)
}

/// Asks the running device.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let state = solution.device_state();
    let inspection = block_on(async {
        match inspection(&args.module, &state).await {
            Ok(inspection) => Ok(inspection),
            Err(error) => Err(module_name::error(error, std::slice::from_ref(&args.module), &state).await),
        }
    })??;
    context.printer.result(&Shown(inspection));
    Ok(())
}

async fn inspection(module: &str, state: &StateDirectory) -> Result<Inspection, ControlError> {
    let value = ask(state, &Request::Inspect { module: module.to_owned() }).await?;
    serde_json::from_value(value).map_err(|error| ControlError::Failed(format!("an inspection that is none: {error}")))
}
