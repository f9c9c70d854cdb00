//! `edgectl demo`: the whole path in one command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edgectl_schemas::ids::{Identity, ModuleId};
use edgectl_simulator::device::{Device, DeviceOptions};
use edgectl_simulator::requests::DeviceStatus;
use edgectl_simulator::runtime::choice::RuntimeChoice;
use edgectl_simulator::state::StateDirectory;
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::deploy::apply;
use crate::commands::device::{self, Signals, block_on, control_error};
use crate::commands::interrupt::interruptible;
use crate::commands::status;
use crate::error::{CommandError, ErrorKind};
use crate::image::build;
use crate::image::plan::{DEFAULT_PLATFORM, plan};
use crate::image::tool;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::scaffold;
use crate::scaffold::name::{ModuleName, SolutionName};
use crate::scaffold::template::Template;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::manifest;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl demo               in a new directory here, edgectl-demo
  edgectl demo my-first      in that directory
  edgectl demo --json | jq .receivedByCloud";

const DEFAULT_NAME: &str = "edgectl-demo";
const FILTER: &str = "filter";
/// Languages and the program that each needs, in the order in which they are tried: what builds sooner goes first.
const LANGUAGES: [(&str, &str); 2] = [("python", "python3"), ("rust", "cargo")];
/// The image whose stand-in is built in.
const BUILT_IN_FILTER: &str = "edgectl-filter:1.0";
/// Below what the sensor starts with, so that every reading is an alert.
const THRESHOLD: u64 = 20;
/// Alerts that are waited for.
const ENOUGH: u64 = 5;
/// For modules to start, and again for alerts to come.
const TIMEOUT: Duration = Duration::from_secs(90);

/// See everything once: scaffold, build, validate, deploy, and messages through a simulated device
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 0 only if messages reached the cloud hub. Nothing is left running; the directory stays.")]
pub struct Args {
    /// The directory to make [default: edgectl-demo, with a number if there is one]
    name: Option<String>,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    solution: PathBuf,
    filter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    built_in_because: Option<String>,
    modules: BTreeMap<String, String>,
    routes: BTreeMap<String, u64>,
    received_by_cloud: u64,
    reported: Value,
    next: Vec<String>,
}

impl Report for Outcome {
    fn text(&self, style: Style) -> String {
        let mut rows = vec![
            vec!["Solution".to_owned(), self.solution.display().to_string()],
            vec!["Filter".to_owned(), self.filter.clone()],
        ];
        rows.extend(self.modules.iter().map(|(name, state)| vec!["Module".to_owned(), format!("{name} {state}")]));
        rows.extend(
            self.routes.iter().map(|(name, count)| vec!["Route".to_owned(), format!("{name}: {count} messages")]),
        );
        rows.push(vec!["Cloud hub".to_owned(), format!("{} messages received", self.received_by_cloud)]);
        rows.push(vec!["Twin".to_owned(), format!("filter reports {}", self.reported)]);
        let mut text = format!("\n{}", columns(&rows));
        if let Some(why) = &self.built_in_because {
            text.push_str(&format!("\nThe filter is a built-in one, because none could be built here: {why}\n"));
        }
        text.push_str("\nNext:\n");
        for command in &self.next {
            text.push_str(&format!("  {}\n", style.cyan(command)));
        }
        text
    }
}

/// Scaffolds, builds, starts, deploys, watches, stops.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let directory = &context.settings.directory;
    let name = match args.name {
        Some(name) => name,
        None => free_name(directory),
    };
    let name = SolutionName::new(&name)?;
    let step = |number: u8, text: &str| context.printer.note(&format!("[{number}/5] {text}"));
    step(1, &format!("Scaffolding a solution in {}", directory.join(name.as_str()).display()));
    let filter = interruptible(|| filter(directory, &name, context, &step))??;
    let solution = Solution::find(&directory.join(name.as_str()))?;
    step(3, "Rendering and validating the deployment manifest");
    let manifest = manifest::render(&solution, DEFAULT_PLATFORM, context)?;
    step(4, "Starting a simulated device, and deploying to it through its cloud hub");
    let options = device::options(&solution, context, None, true, None)?;
    let options = DeviceOptions { runtime: RuntimeChoice::Process, ..options };
    let (status, reported) = block_on(async {
        let mut signals = Signals::listen()?;
        let device = tokio::select! {
            device = Device::start(options) => device.map_err(device::start_error)?,
            signal = signals.next() => return Err(signal),
        };
        let watched = async {
            let state = solution.device_state();
            let service = ServiceClient::new(access::simulated(&solution)?)?;
            apply::apply(&service, &state, &solution, &manifest, Some(TIMEOUT)).await?;
            step(5, "Setting a desired property, and waiting for alerts to reach the cloud hub");
            watch(&service, &state, &solution).await
        };
        let outcome = tokio::select! {
            outcome = watched => outcome,
            signal = signals.next() => Err(signal),
        };
        device.stop().await;
        outcome
    })??;
    context.printer.result(&outcome(&solution, filter, &status, reported));
    Ok(())
}

/// `edgectl-demo`, or the first of `edgectl-demo-2`, `-3`, … that does not exist.
fn free_name(directory: &Path) -> String {
    let numbered = (2..).map(|number| format!("{DEFAULT_NAME}-{number}"));
    let mut names = std::iter::once(DEFAULT_NAME.to_owned()).chain(numbered);
    names.find(|name| !directory.join(name).exists()).unwrap_or_else(|| DEFAULT_NAME.to_owned())
}

/// What the filter turned out to be.
struct Filter {
    is: String,
    because: Option<String>,
}

/// Makes the solution with a filter in the first language that can be built here, or with the built-in one.
fn filter(
    directory: &Path,
    name: &SolutionName,
    context: &Context,
    step: &impl Fn(u8, &str),
) -> Result<Filter, CommandError> {
    let module = ModuleName::new(FILTER)?;
    let mut reasons = Vec::new();
    let mut scaffolded = false;
    for (word, program) in LANGUAGES {
        if tool::find(&context.settings.environment, program).is_none() {
            reasons.push(format!("there is no {program}"));
            continue;
        }
        if scaffolded {
            remove(&directory.join(name.as_str()))?;
        }
        let root = make(directory, name, &module, word)?;
        scaffolded = true;
        step(2, &format!("Building the filter in {word}"));
        let solution = Solution::load(&root)?;
        let planned = plan(&solution, context, DEFAULT_PLATFORM)?;
        let failed = build::build(context, &solution, planned).into_iter().find_map(|outcome| outcome.result.err());
        match failed {
            None => return Ok(Filter { is: format!("{word}, built from modules/{FILTER}"), because: None }),
            Some(error) => reasons.push(first_line(&error.to_string())),
        }
    }
    if !scaffolded {
        make(directory, name, &module, LANGUAGES[0].0)?;
    }
    use_built_in(&Solution::load(&directory.join(name.as_str()))?)?;
    Ok(Filter { is: "built in".to_owned(), because: Some(reasons.join("; ")) })
}

/// Makes the solution with a filter in a language. Returns its root.
fn make(directory: &Path, name: &SolutionName, module: &ModuleName, language: &str) -> Result<PathBuf, CommandError> {
    let template = Template::built_in(&format!("module/{language}"))?;
    let planned = scaffold::solution::plain(directory, name, Some((module, &template)), tera::Context::new())?;
    planned.stage()?.commit()?;
    Ok(planned.root)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn remove(directory: &Path) -> Result<(), CommandError> {
    std::fs::remove_dir_all(directory)
        .map_err(|error| CommandError::failed(format!("{}: {error}", directory.display())))
}

/// Lets the template name the built-in filter in place of the one that would have to be built.
fn use_built_in(solution: &Solution) -> Result<(), CommandError> {
    let path = &solution.template;
    let failed = |error: std::io::Error| CommandError::failed(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let text = text.replace(&format!("${{MODULES.{FILTER}}}"), BUILT_IN_FILTER);
    crate::output::file::write_atomically(path, text.as_bytes()).map_err(failed)
}

/// Lowers the threshold, and waits until the filter reports it and its alerts are in the cloud.
async fn watch(
    service: &ServiceClient,
    state: &StateDirectory,
    solution: &Solution,
) -> Result<(DeviceStatus, Value), CommandError> {
    let module = ModuleId::new(FILTER).map_err(|error| CommandError::new(ErrorKind::Bug, error.to_string()))?;
    let identity = Identity::module(solution.device.clone(), module);
    let desired = json!({ "properties": { "desired": { "TemperatureThreshold": THRESHOLD } } });
    service.patch_twin(&identity, &desired).await?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let status = status::fetch(state).await.map_err(control_error)?;
        let twin = service.twin(&identity).await?;
        let threshold = twin.pointer("/properties/reported/TemperatureThreshold").and_then(Value::as_f64);
        #[expect(clippy::cast_precision_loss, reason = "a small whole number")]
        let is_reported = threshold == Some(THRESHOLD as f64);
        if status.received_by_cloud >= ENOUGH && is_reported {
            let reported = json!({ "TemperatureThreshold": threshold });
            return Ok((status, reported));
        }
        if Instant::now() > deadline {
            let message = format!(
                "only {} messages reached the cloud hub, and the filter reports {}",
                status.received_by_cloud,
                threshold.map_or_else(|| "nothing".to_owned(), |threshold| threshold.to_string())
            );
            let hint =
                format!("Look at {}: `edgectl sim up -d`, then `edgectl logs {FILTER}`.", solution.root.display());
            return Err(CommandError::new(ErrorKind::TimedOut, message).hint(hint));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn outcome(solution: &Solution, filter: Filter, status: &DeviceStatus, reported: Value) -> Outcome {
    let routes: Vec<String> = status
        .hub
        .get("routes")
        .and_then(Value::as_object)
        .map_or_else(Vec::new, |routes| routes.keys().cloned().collect());
    let count = |route: &str| {
        let counts = status.hub.pointer("/counters/routed").and_then(|counts| counts.get(route));
        counts.and_then(Value::as_u64).unwrap_or_default()
    };
    let directory = solution.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Outcome {
        solution: solution.root.clone(),
        filter: filter.is,
        built_in_because: filter.because,
        modules: status.modules.iter().map(|module| (module.name.clone(), module.status.clone())).collect(),
        routes: routes.into_iter().map(|route| (route.clone(), count(&route))).collect(),
        received_by_cloud: status.received_by_cloud,
        reported,
        next: vec![
            format!("cd {directory}"),
            "edgectl sim up -d && edgectl deploy".to_owned(),
            "edgectl events -f".to_owned(),
        ],
    }
}
