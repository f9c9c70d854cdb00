//! `edgectl configuration`, and what `edgectl deploy` does for many devices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::device::{Signals, block_on};
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl deploy --configuration base --target-condition \"tags.hall = 'north'\" --priority 10
  edgectl configuration list
  edgectl configuration show base
  edgectl configuration remove base";

/// How often the hub is asked how far a configuration is.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Configurations: automatic deployments for many devices
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// A target of the solution file, and not the simulated hub
    #[arg(long, global = true, value_name = "TARGET")]
    to: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All of them, with how many devices they are for and have reached
    List,
    /// One of them, whole
    Show {
        /// Its name
        id: String,
    },
    /// Devices get the next one that is for them, or keep what they have
    Remove {
        /// Its name
        id: String,
    },
}

/// What makes a deployment one for many devices.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Deploy to all devices that the target condition is true of, as a configuration of this name
    #[arg(long, value_name = "NAME", requires = "target_condition")]
    pub configuration: Option<String>,
    /// Which devices it is for: a condition, * for all edge devices, or nothing for none yet
    #[arg(long, requires = "configuration", value_name = "CONDITION")]
    target_condition: Option<String>,
    /// Of several that are for a device the one with the highest priority wins
    #[arg(long, requires = "configuration", default_value_t = 0, value_name = "NUMBER")]
    priority: u32,
    /// A word to find it by; may be given again
    #[arg(long, requires = "configuration", value_name = "NAME=VALUE")]
    label: Vec<String>,
}

impl Options {
    /// The configuration, in the service's shape.
    pub fn document(&self, content: &Value) -> Result<Value, CommandError> {
        let labels = self.label.iter().map(|label| {
            let wrong = || CommandError::usage(format!("--label {label:?} is not of the form NAME=VALUE"));
            label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
        });
        Ok(json!({
            "id": self.configuration,
            "schemaVersion": "1.0",
            "labels": labels.collect::<Result<BTreeMap<_, _>, _>>()?,
            "content": { "modulesContent": content },
            "targetCondition": self.target_condition.as_deref().unwrap_or_default(),
            "priority": self.priority,
        }))
    }
}

/// How far a configuration is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Its name.
    pub id: String,
    priority: i64,
    target_condition: String,
    /// Devices that it is for.
    pub targeted: u64,
    /// Of them those that it was brought to.
    pub applied: u64,
    /// Of those the ones whose agents have done it.
    pub succeeded: u64,
    /// And those whose agents say that they cannot.
    pub failed: u64,
}

impl Progress {
    /// What the hub tells.
    pub fn of(configuration: &Value) -> Self {
        let text = |name: &str| configuration.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let count = |name: &str| {
            let counted = configuration.pointer(&format!("/systemMetrics/results/{name}"));
            counted.and_then(Value::as_u64).unwrap_or_default()
        };
        Self {
            id: text("id"),
            priority: configuration.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            target_condition: text("targetCondition"),
            targeted: count("targetedCount"),
            applied: count("appliedCount"),
            succeeded: count("reportedSuccessfulCount"),
            failed: count("reportedFailedCount"),
        }
    }

    fn row(&self) -> Vec<String> {
        let numbers = [self.targeted, self.applied, self.succeeded, self.failed].map(|number| number.to_string());
        let mut row = vec![self.id.clone(), self.priority.to_string()];
        row.extend(numbers);
        row.push(self.target_condition.clone());
        row
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct All(Vec<Progress>);

impl Report for All {
    fn text(&self, style: Style) -> String {
        if self.0.is_empty() {
            return "There is no configuration.\n".to_owned();
        }
        let names = ["NAME", "PRIORITY", "TARGETED", "APPLIED", "SUCCEEDED", "FAILED", "CONDITION"];
        let head = names.iter().map(|name| style.bold(name)).collect();
        columns(&std::iter::once(head).chain(self.0.iter().map(Progress::row)).collect::<Vec<_>>())
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Whole(Value);

impl Report for Whole {
    fn text(&self, _style: Style) -> String {
        format!("{:#}\n", self.0)
    }
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl Report for Removed {
    fn text(&self, _style: Style) -> String {
        format!("Removed configuration {}.\n", self.removed)
    }
}

/// Lists, shows or removes.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let service = service(args.to.as_deref(), context)?;
    match args.command {
        Command::List => {
            let all = block_on(service.configurations())??;
            context.printer.result(&All(all.iter().map(Progress::of).collect()));
        }
        Command::Show { id } => {
            let found = block_on(service.find_configuration(&id))??.ok_or_else(|| missing(&id))?;
            context.printer.result(&Whole(found));
        }
        Command::Remove { id } => {
            block_on(async {
                service.find_configuration(&id).await?.ok_or_else(|| missing(&id))?;
                service.remove_configuration(&id).await
            })??;
            context.printer.result(&Removed { removed: id });
        }
    }
    Ok(())
}

/// The error for one that is not there.
pub fn missing(id: &str) -> CommandError {
    CommandError::failed(format!("there is no configuration {id}"))
        .hint("Run `edgectl configuration list` to see which there are.")
}

/// The simulated hub, or a target of the solution file.
pub fn service(to: Option<&str>, context: &Context) -> Result<ServiceClient, CommandError> {
    let solution = context.solution()?;
    let access = match to {
        None => access::simulated(&solution)?,
        Some(name) => access::target(&solution, name, context)?.0,
    };
    ServiceClient::new(access)
}

/// Makes or changes a configuration with a manifest's content, and waits until all devices it is for have taken it.
pub fn deploy(
    service: &ServiceClient,
    options: &Options,
    content: &Value,
    timeout: Option<Duration>,
    context: &Context,
) -> Result<(), CommandError> {
    let id = options.configuration.as_deref().unwrap_or_default();
    let configuration = options.document(content)?;
    let progress = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            progress = put(service, id, &configuration, timeout, context) => progress,
            signal = signals.next() => Err(signal),
        }
    })??;
    let failed = progress.failed;
    context.printer.result(&All(vec![progress]));
    if failed > 0 {
        return Err(CommandError::failed(format!("{failed} devices refused the configuration {id}"))
            .hint(format!("`edgectl deploy status --configuration {id}` has their own words.")));
    }
    Ok(())
}

async fn put(
    service: &ServiceClient,
    id: &str,
    configuration: &Value,
    timeout: Option<Duration>,
    context: &Context,
) -> Result<Progress, CommandError> {
    let old = service.find_configuration(id).await?;
    if let Some(old) = &old
        && old.pointer("/content/modulesContent") != configuration.pointer("/content/modulesContent")
    {
        return Err(CommandError::failed(format!("configuration {id} has other content, which cannot be changed"))
            .hint(format!(
                "Give the new one another name and a higher priority, or run `edgectl configuration remove {id}`."
            )));
    }
    let etag = old.as_ref().and_then(|old| old.get("etag")).and_then(Value::as_str);
    let mut progress = Progress::of(&service.put_configuration(id, configuration, etag).await?);
    if progress.targeted == 0 {
        context
            .printer
            .note("The target condition is true of no edge device now; those that it becomes true of will get it.");
    }
    let Some(timeout) = timeout else { return Ok(progress) };
    let deadline = Instant::now() + timeout;
    while progress.succeeded + progress.failed < progress.targeted {
        if Instant::now() > deadline {
            let Progress { targeted, applied, succeeded, failed, .. } = progress;
            let text = format!(
                "of {targeted} devices {succeeded} have taken the configuration {id}, {failed} have refused it; it is applied to {applied}"
            );
            return Err(CommandError::new(ErrorKind::TimedOut, text).hint(
                "A device that is not connected takes it when it comes back; a higher configuration may cover it.",
            ));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        let found = service.find_configuration(id).await?.ok_or_else(|| missing(id))?;
        let now = Progress::of(&found);
        if now != progress {
            let Progress { targeted, applied, succeeded, failed, .. } = &now;
            context.printer.note(&format!("{applied} of {targeted} applied, {succeeded} succeeded, {failed} failed"));
        }
        progress = now;
    }
    Ok(progress)
}
