//! `edgectl deploy`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use edgectl_schemas::manifest::image_reference;
use edgectl_simulator::profile::budget::{self, Excess};
use edgectl_simulator::requests::{DeviceStatus, ModuleStatus};
use edgectl_simulator::state::{Endpoints, StateDirectory, read_json};
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::configuration;
use crate::commands::device::{Signals, block_on, control_error};
use crate::commands::sim;
use crate::commands::status;
use crate::error::{CommandError, ErrorKind};
use crate::image::pin::Pins;
use crate::image::plan;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::manifest::{self, Manifest};
use crate::solution::solution::{SOLUTION_FILE, Solution};

const EXAMPLES: &str = "\
Examples:
  edgectl deploy                         render the solution's template and deploy it
  edgectl deploy -f deployment.json      deploy a manifest as it is
  edgectl deploy --plan                  show what would be done, and change nothing
  edgectl deploy --to lab                to the device of a target of edgectl.yaml
  edgectl deploy --configuration base --target-condition \"tags.hall = 'north'\" --priority 10";

/// How often the device is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A module that does not connect to the hub counts as up when it has run for so long.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Deploy the solution to its simulated device
#[expect(clippy::struct_excessive_bools, reason = "a flag is a bool")]
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 0 when every module that should run does, 1 when one does not, 3 when the manifest has errors, 7 when it takes too long.")]
pub struct Args {
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
    /// Show what the device would do, and why, and change nothing
    #[arg(long)]
    plan: bool,
    /// With --plan: exit with status 8 when something would change
    #[arg(long, requires = "plan")]
    detailed_exitcode: bool,
    /// Deploy to a target of the solution file, and not to the simulated hub
    #[arg(long, conflicts_with = "plan", value_name = "TARGET")]
    to: Option<String>,
    #[command(flatten)]
    many: configuration::Options,
}

/// What was deployed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deployed {
    manifest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    modules: Option<Vec<ModuleStatus>>,
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
    if args.plan {
        return sim::plan::show(args.file.as_deref(), &args.platform, args.detailed_exitcode, context);
    }
    let solution = context.solution()?;
    if args.many.configuration.is_some() {
        let content = match &args.file {
            Some(path) => manifest::read_any(&context.settings.directory.join(path), context)?.modules_content,
            None => rendered(&solution, &args, context)?.modules_content,
        };
        let service = configuration::service(args.to.as_deref(), context)?;
        let timeout = (!args.no_wait).then(|| Duration::from_secs(args.timeout));
        return configuration::deploy(&service, &args.many, &content, timeout, context);
    }
    let manifest = match &args.file {
        Some(path) => manifest::read(&context.settings.directory.join(path), context)?,
        None => rendered(&solution, &args, context)?,
    };
    if let Some(name) = &args.to {
        return elsewhere(name, &solution, manifest, &args, context);
    }
    let hub = access::simulated(&solution)?;
    for warning in fit(&solution.device_state(), &manifest)? {
        context.printer.note(&format!("warning: {warning}"));
    }
    warn_of_old_agent(&solution, &manifest, context)?;
    let timeout = (!args.no_wait).then(|| Duration::from_secs(args.timeout));
    let state = solution.device_state();
    let service = ServiceClient::new(hub)?;
    let status = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            status = apply(&service, &state, &solution, &manifest, timeout) => status,
            signal = signals.next() => Err(signal),
        }
    })??;
    context.printer.result(&Deployed { manifest: manifest.name, modules: status.map(|status| status.modules) });
    Ok(())
}

/// Applies a manifest to the device of a target, and waits until its agent has taken it.
fn elsewhere(
    name: &str,
    solution: &Solution,
    manifest: Manifest,
    args: &Args,
    context: &Context,
) -> Result<(), CommandError> {
    let (access, target) = access::target(solution, name, context)?;
    let device = target.device.ok_or_else(|| {
        CommandError::usage(format!("target {name} names no device"))
            .hint(format!("Set `device:` of the target in {SOLUTION_FILE}, or give `--configuration NAME`."))
    })?;
    let device = DeviceId::new(&device).map_err(|error| CommandError::usage(format!("device {device:?}: {error}")))?;
    let service = ServiceClient::new(access)?;
    let timeout = (!args.no_wait).then(|| Duration::from_secs(args.timeout));
    block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            outcome = apply_elsewhere(&service, &device, &manifest, timeout) => outcome,
            signal = signals.next() => Err(signal),
        }
    })??;
    context.printer.result(&Deployed { manifest: manifest.name, modules: None });
    Ok(())
}

async fn apply_elsewhere(
    service: &ServiceClient,
    device: &DeviceId,
    manifest: &Manifest,
    timeout: Option<Duration>,
) -> Result<(), CommandError> {
    service.apply(device.as_str(), &json!({ "modulesContent": manifest.modules_content })).await?;
    let Some(timeout) = timeout else { return Ok(()) };
    let (agent, deadline) = (Identity::module(device.clone(), ModuleId::edge_agent()), Instant::now() + timeout);
    loop {
        let twin = service.twin(&agent).await?;
        let number = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64);
        let wanted = number("/properties/desired/$version");
        let status = "/properties/reported/lastDesiredStatus";
        if wanted.is_some() && number("/properties/reported/lastDesiredVersion") == wanted {
            return match number(&format!("{status}/code")) {
                Some(200) => Ok(()),
                code => {
                    let text =
                        twin.pointer(&format!("{status}/description")).and_then(Value::as_str).unwrap_or_default();
                    let code = code.map_or_else(|| "no status".to_owned(), |code| code.to_string());
                    Err(CommandError::failed(format!("{device} does not take it: {code} {text}")))
                }
            };
        }
        if Instant::now() > deadline {
            let text = format!("the agent of {device} has not taken the deployment yet");
            return Err(CommandError::new(ErrorKind::TimedOut, text)
                .hint("A device that is not connected takes it when it comes back."));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
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

/// Applies a manifest to the solution's device, and waits until its modules run if there is a time for that.
pub async fn apply(
    service: &ServiceClient,
    state: &StateDirectory,
    solution: &Solution,
    manifest: &Manifest,
    timeout: Option<Duration>,
) -> Result<Option<DeviceStatus>, CommandError> {
    fit(state, manifest)?;
    service.apply(solution.device.as_str(), &json!({ "modulesContent": manifest.modules_content })).await?;
    match timeout {
        None => Ok(None),
        Some(timeout) => settle(service, state, solution, manifest, timeout).await.map(Some),
    }
}

/// Waits until the device has taken what was applied last and its modules run.
pub async fn settle(
    service: &ServiceClient,
    state: &StateDirectory,
    solution: &Solution,
    manifest: &Manifest,
    timeout: Duration,
) -> Result<DeviceStatus, CommandError> {
    let agent = Identity::module(solution.device.clone(), ModuleId::edge_agent());
    let twin = service.twin(&agent).await?;
    let version = twin.pointer("/properties/desired/$version").and_then(Value::as_u64).unwrap_or_default();
    wait(state, manifest, version, timeout).await
}

/// Whether the device's profile has room for a manifest; what it can give only for a while comes back.
fn fit(state: &StateDirectory, manifest: &Manifest) -> Result<Vec<String>, CommandError> {
    let endpoints: Option<Endpoints> = read_json(&state.endpoints()).map_err(access::damaged)?;
    let Some(profile) = endpoints.and_then(|endpoints| endpoints.profile) else { return Ok(Vec::new()) };
    let desired = manifest.modules_content.pointer("/$edgeAgent/properties.desired").unwrap_or(&Value::Null);
    let Excess { refused, warned } = budget::check_desired(&profile, desired);
    if refused.is_empty() {
        return Ok(warned);
    }
    Err(CommandError::new(ErrorKind::Findings, refused.join("; "))
        .hint("Lower `HostConfig.Memory`, `NanoCpus` or `StorageOpt` in the modules' create options.")
        .hint("Or start the device with a larger machine: `edgectl sim profiles` lists them."))
}

/// Waits until the device has taken a version and its modules run.
async fn wait(
    state: &StateDirectory,
    manifest: &Manifest,
    version: u64,
    timeout: Duration,
) -> Result<DeviceStatus, CommandError> {
    let deadline = Instant::now() + timeout;
    let mut watched = Watched::default();
    loop {
        let status = status::fetch(state).await.map_err(control_error)?;
        let is_taken = status.deployment_version.is_some_and(|taken| taken >= version);
        if is_taken && let Some(error) = status::refused(&status) {
            return Err(error.hint("Run `edgectl validate` to see where the mistake is."));
        }
        let waiting = manifest.waiting_for(&watched.up(&status.modules));
        if is_taken {
            if let Some(error) = broken(&status) {
                return Err(error);
            }
            if waiting.is_empty() {
                return Ok(status);
            }
        }
        if Instant::now() > deadline {
            return Err(late(&status, is_taken, &waiting));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// How long the modules have been running.
#[derive(Default)]
struct Watched {
    since: HashMap<String, (Option<u32>, Instant)>,
}

impl Watched {
    /// The modules that are up: they run, and have either found their hub or not ended for a while.
    fn up(&mut self, modules: &[ModuleStatus]) -> Vec<String> {
        let now = Instant::now();
        let mut up = Vec::new();
        for module in modules.iter().filter(|module| module.status == "running") {
            let (process, since) = self.since.entry(module.name.clone()).or_insert((module.process, now));
            if *process != module.process {
                (*process, *since) = (module.process, now);
            }
            if module.connected || now.duration_since(*since) >= SETTLE_TIME {
                up.push(module.name.clone());
            }
        }
        up
    }
}

/// A module that does not stay up, or cannot be started at all.
fn broken(status: &DeviceStatus) -> Option<CommandError> {
    let module = status.modules.iter().find(|module| matches!(module.status.as_str(), "backoff" | "failed"));
    if let Some(module) = module {
        let message = format!("module {} does not stay up: {}", module.name, module.description);
        let hint = format!("Run `edgectl logs {}` to see what it printed.", module.name);
        return Some(CommandError::failed(message).hint(hint));
    }
    let code = status.deployment.get("code").and_then(Value::as_u64)?;
    let why = status.deployment.get("description").and_then(Value::as_str).unwrap_or_default();
    (code >= 400).then(|| {
        CommandError::failed(format!("the agent answered {code}: {why}"))
            .hint("Mend that, and run `edgectl deploy` again; `edgectl status` shows all modules.")
    })
}

fn late(status: &DeviceStatus, is_taken: bool, waiting: &[String]) -> CommandError {
    let message = if is_taken {
        let states = status.modules.iter().filter(|module| waiting.contains(&module.name));
        let states: Vec<String> = states.map(|module| format!("{} is {}", module.name, module.status)).collect();
        let states = if states.is_empty() { waiting.join(", ") } else { states.join(", ") };
        format!("not all modules run yet: {states}")
    } else {
        "the agent has not taken the deployment yet".to_owned()
    };
    CommandError::new(ErrorKind::TimedOut, message).hint("Run `edgectl status` to see how far it is.")
}
