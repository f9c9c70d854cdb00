//! `edgectl build`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::commands::interrupt::interruptible;
use crate::error::{CommandError, ErrorKind};
use crate::image::build::{self, Outcome};
use crate::image::engine::load;
use crate::image::error::ImageError;
use crate::image::images;
use crate::image::output::{Images, Place};
use crate::image::plan::{self, PlannedModule};
use crate::image::registry::client::Logins;
use crate::image::registry::push::Sent;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;
use crate::solution::module_json::Builder;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl build                                   what the simulated device runs as processes
  edgectl build filter --load                     an image, into the container engine
  edgectl build --platform amd64,arm64v8 --push   images for both, and one index, into the registry
  edgectl build --output oci:images --explain     into a layout, and why anything was built

Without --image, --load, --push or --output nothing but processes of this machine is made.";

/// A text that is at least this like a name was probably meant to be it, from 0 to 1.
const LIKENESS: f64 = 0.7;

/// Build the modules of the solution
#[expect(clippy::struct_excessive_bools, reason = "a flag is a bool")]
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The modules to build; all where none is named
    #[arg(value_name = "MODULE")]
    modules: Vec<String>,
    /// The platforms to build for, by their names in module.json
    #[arg(short = 'P', long = "platform", value_name = "PLATFORM", env = "DEFAULT_PLATFORM", value_delimiter = ',', default_value = plan::DEFAULT_PLATFORM)]
    platforms: Vec<String>,
    /// Build images, and keep them in the solution's state
    #[arg(long)]
    image: bool,
    /// Build images, and load them into the container engine
    #[arg(long)]
    load: bool,
    /// Build images, and send them to their registries
    #[arg(long)]
    push: bool,
    /// Build images, and write them to oci:DIRECTORY or docker-archive:FILE
    #[arg(short, long, value_name = "PLACE")]
    output: Option<Place>,
    /// Who builds images, where module.json does not say [default: the engine where there is a Dockerfile, else edgectl]
    #[arg(long, value_enum)]
    builder: Option<Builder>,
    /// Look base images up anew
    #[arg(long)]
    pull: bool,
    /// Build everything, whether it changed or not
    #[arg(long)]
    no_cache: bool,
    /// Say why each image was built
    #[arg(long)]
    explain: bool,
}

impl Args {
    /// Whether images are wanted, and not processes.
    fn wants_images(&self) -> bool {
        self.image || self.load || self.push || self.output.is_some()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildReport {
    modules: Vec<ModuleReport>,
    /// Images for several platforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    indexes: Vec<IndexReport>,
    /// What was sent to registries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pushed: Vec<Sent>,
    #[serde(skip)]
    explain: bool,
    #[serde(skip)]
    next: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ModuleReport {
    module: String,
    image: String,
    platform: String,
    status: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// Of the layers, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sbom: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct IndexReport {
    module: String,
    image: String,
    digest: String,
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
        rows.extend(
            self.indexes.iter().map(|index| vec![index.module.clone(), "index".to_owned(), index.image.clone()]),
        );
        let mut text = columns(&rows);
        if self.explain {
            text.push('\n');
            for module in &self.modules {
                let why =
                    if module.reasons.is_empty() { "nothing changed".to_owned() } else { module.reasons.join("; ") };
                text.push_str(&format!("{}: {why}\n", module.image));
            }
        }
        if let Some(next) = self.next {
            text.push_str(&format!("\nNext:\n  {}\n", style.cyan(next)));
        }
        text
    }
}

/// Builds modules.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let mut planned = Vec::new();
    for platform in &args.platforms {
        planned.extend(plan::plan(&solution, context, platform)?);
    }
    let mut chosen = choose(planned, &args.modules)?;
    if args.wants_images() {
        for module in &mut chosen {
            module.build.builder = module.build.builder.or(args.builder);
        }
        return build_images(&args, context, &solution, &chosen);
    }
    if args.platforms.len() > 1 {
        return Err(CommandError::usage("a process is of this machine, whatever the platform: several were named")
            .hint("Add --image, --load, --push or --output to build images."));
    }
    let outcomes = interruptible(|| build::build(context, &solution, chosen))?;
    let report = BuildReport {
        modules: outcomes.iter().map(report).collect(),
        indexes: Vec::new(),
        pushed: Vec::new(),
        explain: false,
        next: Some("edgectl sim up -d && edgectl deploy"),
    };
    match failure(outcomes.iter().map(|outcome| (outcome.module.name(), outcome.result.as_ref().err()))) {
        None => {
            context.printer.result(&report);
            Ok(())
        }
        Some(error) => Err(error.details(json!(report))),
    }
}

fn build_images(
    args: &Args,
    context: &Context,
    solution: &Solution,
    modules: &[PlannedModule],
) -> Result<(), CommandError> {
    let store = images::store(solution);
    let hands_on = args.load || args.push || args.output.is_some();
    let options = images::Options { pull: args.pull, rebuild: args.no_cache, check: hands_on };
    let outcomes = interruptible(|| images::build(context, solution, modules, options))?;
    let mut report = BuildReport {
        modules: outcomes.iter().map(image_report).collect(),
        indexes: Vec::new(),
        pushed: Vec::new(),
        explain: args.explain,
        next: None,
    };
    if let Some(error) = failure(outcomes.iter().map(|outcome| (outcome.module.name(), outcome.result.as_ref().err())))
    {
        return Err(error.details(json!(report)));
    }
    let built: Vec<_> =
        outcomes.into_iter().filter_map(|outcome| Some((outcome.module, outcome.result.ok()?))).collect();
    let for_all = images::combine(&store, &built)?;
    report.indexes = for_all.iter().map(index_report).collect();
    if report.modules.iter().any(|module| module.status == "built") {
        images::sweep(&store)?;
    }
    let images = Images { store: &store, each: &built, for_all: &for_all };
    if let Some(place) = &args.output {
        let path = images.write(place, &context.settings.directory)?;
        context.printer.note(&format!("written to {}", path.display()));
    }
    if args.load {
        let host = context.settings.engine_host.as_deref();
        let loaded = interruptible(|| load::load(host, &store, &images.packed()))??;
        context.printer.note(&format!("loaded into the container engine at {loaded}"));
    }
    if args.push {
        let logins = Logins {
            settings: context.settings.engine_config.clone(),
            manifest: plan::credentials(solution, context, &args.platforms[0]),
        };
        report.pushed = images.push(&logins, &context.printer)?;
        for sent in &report.pushed {
            context.printer.note(&sent.told());
        }
    }
    context.printer.result(&report);
    Ok(())
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
    let module = &outcome.module;
    ModuleReport {
        module: module.name().to_owned(),
        image: module.image.clone(),
        platform: module.platform.clone(),
        status,
        seconds: seconds(outcome.duration),
        digest,
        size: None,
        sbom: None,
        reasons: Vec::new(),
        error,
    }
}

fn image_report(outcome: &images::Outcome) -> ModuleReport {
    let (module, image) = (&outcome.module, outcome.result.as_ref().ok());
    ModuleReport {
        module: module.name().to_owned(),
        image: module.image.clone(),
        platform: module.platform.clone(),
        status: match image {
            Some(_) if outcome.reasons.is_empty() => "cached",
            Some(_) => "built",
            None => "failed",
        },
        seconds: seconds(outcome.duration),
        digest: image.map(|image| image.manifest.digest.to_string()),
        size: image.map(|image| image.size),
        sbom: image.and_then(|image| image.bill.as_ref().map(|(_, path)| path.clone())),
        reasons: outcome.reasons.clone(),
        error: outcome.result.as_ref().err().map(ToString::to_string),
    }
}

fn index_report(all: &images::ForAll) -> IndexReport {
    IndexReport { module: all.module.clone(), image: all.name.clone(), digest: all.index.digest.to_string() }
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// One error for all modules that failed: what kind it is follows from the first.
fn failure<'a>(results: impl Iterator<Item = (&'a str, Option<&'a ImageError>)>) -> Option<CommandError> {
    let failed: Vec<_> = results.filter_map(|(name, error)| Some((name, error?))).collect();
    let (name, first) = failed.first()?;
    let kind = match first.kind() {
        ErrorKind::Failed => ErrorKind::Build,
        other => other,
    };
    let message = if failed.len() == 1 {
        format!("module {name} was not built: {first}")
    } else {
        let mut names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
        names.dedup();
        format!("{} builds failed, of {}; {name}: {first}", failed.len(), names.join(", "))
    };
    let mut hints: Vec<&str> = failed.iter().filter_map(|(_, error)| error.hint()).collect();
    hints.dedup();
    Some(hints.into_iter().fold(CommandError::new(kind, message), CommandError::hint))
}
