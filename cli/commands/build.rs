//! `edgectl build`.

use serde::Serialize;
use serde_json::json;

use crate::commands::interrupt::interruptible;
use crate::error::{CommandError, ErrorKind};
use crate::image::build::{self, Outcome};
use crate::image::plan::{self, PlannedModule};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl build          all modules that the deployment template names
  edgectl build filter   one of them";

/// A text that is at least this like a name was probably meant to be it, from 0 to 1.
const LIKENESS: f64 = 0.7;

/// Build the modules of the solution
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The modules to build; all where none is named
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// The platform to build for, by its name in module.json
    #[arg(long, value_name = "PLATFORM", env = "DEFAULT_PLATFORM", default_value = plan::DEFAULT_PLATFORM)]
    platform: String,
}

#[derive(Debug, Serialize)]
struct BuildReport {
    modules: Vec<ModuleReport>,
}

#[derive(Debug, Serialize)]
struct ModuleReport {
    module: String,
    image: String,
    status: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Report for BuildReport {
    fn text(&self, style: Style) -> String {
        if self.modules.is_empty() {
            return format!(
                "The deployment template names no module of this solution: there is nothing to build.\n\nNext:\n  {}\n",
                style.cyan("edgectl add module NAME --lang LANGUAGE")
            );
        }
        let mut rows = vec![["MODULE", "STATUS", "IMAGE"].map(str::to_owned).to_vec()];
        rows.extend(
            self.modules
                .iter()
                .map(|module| vec![module.module.clone(), module.status.to_owned(), module.image.clone()]),
        );
        format!("{}\nNext:\n  {}\n", columns(&rows), style.cyan("edgectl sim up -d && edgectl deploy"))
    }
}

/// Builds modules.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let planned = plan::plan(&solution, context, &args.platform)?;
    let chosen = choose(planned, &args.modules)?;
    let outcomes = interruptible(|| build::build(context, &solution, chosen))?;
    let report = BuildReport { modules: outcomes.iter().map(report).collect() };
    match failure(&outcomes) {
        None => {
            context.printer.result(&report);
            Ok(())
        }
        Some(error) => Err(error.details(json!(report))),
    }
}

fn choose(planned: Vec<PlannedModule>, wanted: &[String]) -> Result<Vec<PlannedModule>, CommandError> {
    if wanted.is_empty() {
        return Ok(planned);
    }
    let names: Vec<&str> = planned.iter().flat_map(|module| module.names.iter().map(String::as_str)).collect();
    if let Some(name) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        let error = CommandError::usage(format!("the deployment template has no module {name:?} that is built here"));
        let meant = names
            .iter()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        return Err(match meant {
            Some((_, meant)) => error.hint(format!("Did you mean `{meant}`?")),
            None if names.is_empty() => error.hint("It names none; `edgectl add module` makes one."),
            None => error.hint(format!("There are {}.", names.join(", "))),
        });
    }
    Ok(planned.into_iter().filter(|module| module.names.iter().any(|name| wanted.contains(name))).collect())
}

fn report(outcome: &Outcome) -> ModuleReport {
    let (status, digest, error) = match &outcome.result {
        Ok(built) => (if built.cached { "cached" } else { "built" }, Some(built.digest.clone()), None),
        Err(error) => ("failed", None, Some(error.to_string())),
    };
    ModuleReport {
        module: outcome.module.name().to_owned(),
        image: outcome.module.image.clone(),
        status,
        seconds: (outcome.duration.as_secs_f64() * 1000.0).round() / 1000.0,
        digest,
        error,
    }
}

/// One error for all modules that failed: what kind it is follows from the first.
fn failure(outcomes: &[Outcome]) -> Option<CommandError> {
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().err().map(|error| (outcome.module.name(), error)))
        .collect();
    let (name, first) = failed.first()?;
    let kind = match first.kind() {
        ErrorKind::Missing => ErrorKind::Missing,
        _ => ErrorKind::Build,
    };
    let message = if failed.len() == 1 {
        format!("module {name} was not built: {first}")
    } else {
        let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
        format!("{} modules were not built: {}; {name}: {first}", failed.len(), names.join(", "))
    };
    let mut hints: Vec<&str> = failed.iter().filter_map(|(_, error)| error.hint()).collect();
    hints.dedup();
    Some(hints.into_iter().fold(CommandError::new(kind, message), CommandError::hint))
}
