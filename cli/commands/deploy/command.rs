//! `edgectl deploy`.

use std::path::PathBuf;
use std::time::Duration;

use edgectl_schemas::manifest::image_reference;
use edgectl_simulator::requests::ModuleStatus;
use edgectl_simulator::state::{Endpoints, read_json};
use serde::Serialize;
use serde_json::Value;

use super::place::Place;
use super::{apply, difference, rollback, status};
use crate::commands::device::{Signals, block_on};
use crate::commands::{configuration, sim};
use crate::error::CommandError;
use crate::image::pin::Pins;
use crate::image::plan;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::settings::Context;
use crate::solution::manifest::{self, Manifest};
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl deploy                         render the solution's template and deploy it
  edgectl deploy -f deployment.json      deploy a manifest as it is
  edgectl deploy --plan                  show what would be done, and change nothing
  edgectl deploy --to lab                to the device of a target of edgectl.yaml
  edgectl deploy --plan --to lab         what that would change
  edgectl deploy status                  how far it is, with the agent's own words
  edgectl deploy rollback                deploy again what was deployed before
  edgectl deploy --configuration base --target-condition \"tags.hall = 'north'\" --priority 10";

/// Deploy the solution to its simulated device
#[expect(clippy::struct_excessive_bools, reason = "a flag is a bool")]
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 0 when every module that should run does, 1 when one does not, 3 when the manifest has errors, 7 when it takes too long.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Deploy this manifest and not the solution's template
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The platform whose images are deployed
    #[arg(long, env = "DEFAULT_PLATFORM", default_value = "amd64")]
    platform: String,
    /// Seconds to wait until the modules run
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    /// Do not wait until the modules run
    #[arg(long)]
    no_wait: bool,
    /// Deploy the images that were built last by their digests
    #[arg(long, conflicts_with_all = ["file", "plan"])]
    pin: bool,
    /// Show what would change, and what the device would do and why; change nothing
    #[arg(long)]
    plan: bool,
    /// With --plan: exit with status 8 when something would change
    #[arg(long, requires = "plan")]
    detailed_exitcode: bool,
    /// Deploy to a target of the solution file, and not to the simulated hub
    #[arg(long, value_name = "TARGET")]
    to: Option<String>,
    #[command(flatten)]
    many: configuration::Options,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Status(status::Args),
    Rollback(rollback::Args),
}

/// What was deployed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The manifest.
    pub manifest: String,
    /// The modules, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleStatus>>,
}

impl Report for Deployed {
    fn text(&self, style: Style) -> String {
        let mut text = format!("Deployed {}.\n", self.manifest);
        if let Some(modules) = &self.modules {
            let rows = modules.iter().map(|module| vec![format!("  {}", module.name), module.status.clone()]);
            text.push_str(&columns(&rows.collect::<Vec<_>>()));
        }
        text.push_str(&format!("Next: {}\n", style.cyan("edgectl events -f")));
        text
    }
}

/// Renders, checks, applies and waits.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    match &args.command {
        Some(Command::Status(args)) => return status::run(args, context),
        Some(Command::Rollback(args)) => return rollback::run(args, context),
        None => {}
    }
    let solution = context.solution()?;
    let timeout = (!args.no_wait).then(|| Duration::from_secs(args.timeout));
    if args.many.configuration.is_some() {
        let manifest = match &args.file {
            Some(path) => manifest::read_any(&context.settings.directory.join(path), context)?,
            None => rendered(&solution, &args, context)?,
        };
        let service = configuration::service(args.to.as_deref(), context)?;
        if args.plan {
            return difference::of_configuration(&service, &args.many, manifest, args.detailed_exitcode, context);
        }
        return configuration::deploy(&service, &args.many, &manifest.modules_content, timeout, context);
    }
    if args.plan && args.to.is_none() {
        return sim::plan::show(args.file.as_deref(), &args.platform, args.detailed_exitcode, context);
    }
    let manifest = match &args.file {
        Some(path) => manifest::read(&context.settings.directory.join(path), context)?,
        None => rendered(&solution, &args, context)?,
    };
    let place = Place::find(args.to.as_deref(), &solution, context)?;
    if args.plan {
        return difference::of_device(&place, manifest, args.detailed_exitcode, context);
    }
    if args.to.is_none() {
        for warning in apply::fit(&solution.device_state(), &manifest)? {
            context.printer.note(&format!("warning: {warning}"));
        }
        warn_of_old_agent(&solution, &manifest, context)?;
    }
    let modules = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            modules = place.deploy(&solution, &manifest, timeout) => modules,
            signal = signals.next() => Err(signal),
        }
    })??;
    context.printer.result(&Deployed { manifest: manifest.name, modules });
    Ok(())
}

/// The solution's own manifest.
fn rendered(solution: &Solution, args: &Args, context: &Context) -> Result<Manifest, CommandError> {
    let template = manifest::checked_template(solution, &args.platform, context)?;
    let pins = if args.pin { Pins::of(solution, &plan::of_images(template.images.clone()))? } else { Pins::default() };
    let mut manifest = manifest::of_template(solution, template)?;
    pins.apply(&mut manifest.modules_content);
    Ok(manifest)
}

/// Says so where a real device could not run below another one as this one does.
fn warn_of_old_agent(solution: &Solution, manifest: &Manifest, context: &Context) -> Result<(), CommandError> {
    let endpoints = read_json::<Endpoints>(&solution.device_state().endpoints()).map_err(access::damaged)?;
    let pointer = "/$edgeAgent/properties.desired/systemModules/edgeAgent/settings/image";
    let image = manifest.modules_content.pointer(pointer).and_then(Value::as_str);
    if let Some(parent) = endpoints.and_then(|endpoints| endpoints.parent)
        && let Some(image) = image.filter(|image| !image_reference::is_nested_agent(image))
    {
        context.printer.note(&format!(
            "The edge agent {image} cannot run below another device, as {} does below {parent}: that came with 1.2.",
            solution.device
        ));
    }
    Ok(())
}
