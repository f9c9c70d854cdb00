//! `edgectl deploy status`.

use serde::Serialize;
use serde_json::Value;

use super::place::Place;
use crate::commands::configuration::{self, Progress};
use crate::commands::device::block_on;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

/// The code of an agent that has done all that was desired.
const DONE: u64 = 200;

/// Show how far a deployment is, in the words of the devices' own agents
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status 0 when all is done and runs, 1 when it is not.")]
pub struct Args {
    /// The device of a target of the solution file, and not the simulated one
    #[arg(long, value_name = "TARGET")]
    to: Option<String>,
    /// Of a configuration: its counts, and the devices that fail
    #[arg(long, value_name = "NAME")]
    configuration: Option<String>,
}

/// A device's deployment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfDevice {
    device: String,
    /// The version of the agent's desired properties.
    desired_version: Option<u64>,
    /// The version that the agent has looked at.
    taken_version: Option<u64>,
    code: Option<u64>,
    description: String,
    modules: Vec<Module>,
    /// When and from what it was last deployed from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployed: Option<String>,
    is_done: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    name: String,
    status: String,
    description: String,
    restarts: u64,
    should_run: bool,
}

impl OfDevice {
    fn of(device: String, twin: &Value, deployed: Option<String>) -> Self {
        let number = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let desired = twin.pointer("/properties/desired/modules").and_then(Value::as_object);
        let modules = desired.into_iter().flatten().map(|(name, module)| {
            let reported = twin.pointer("/properties/reported/modules").and_then(|modules| modules.get(name));
            let of = |name: &str| text(reported.and_then(|module| module.get(name)));
            let wanted = module.get("status").and_then(Value::as_str);
            let restarts = reported.and_then(|module| module.get("restartCount")).and_then(Value::as_u64);
            Module {
                name: name.clone(),
                status: Some(of("runtimeStatus")).filter(|status| !status.is_empty()).unwrap_or("unknown".to_owned()),
                description: of("statusDescription"),
                restarts: restarts.unwrap_or_default(),
                should_run: wanted.is_none_or(|status| status.eq_ignore_ascii_case("running")),
            }
        });
        let modules: Vec<Module> = modules.collect();
        let (desired_version, taken_version) =
            (number("/properties/desired/$version"), number("/properties/reported/lastDesiredVersion"));
        let code = number("/properties/reported/lastDesiredStatus/code");
        let all_run = modules.iter().all(|module| !module.should_run || module.status == "running");
        Self {
            device,
            is_done: taken_version.is_some() && taken_version == desired_version && code == Some(DONE) && all_run,
            desired_version,
            taken_version,
            code,
            description: text(twin.pointer("/properties/reported/lastDesiredStatus/description")),
            modules,
            deployed,
        }
    }
}

impl Report for OfDevice {
    fn text(&self, style: Style) -> String {
        let version = |version: Option<u64>| version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        let mut text = format!("Device {}: ", style.bold(&self.device));
        text.push_str(&match self.code {
            None => "its agent has reported nothing yet".to_owned(),
            Some(_) if self.taken_version != self.desired_version => "its agent has not looked at it yet".to_owned(),
            Some(DONE) => "its agent has done it".to_owned(),
            Some(code) => format!("its agent answered {code} {}", self.description),
        });
        text.push_str(&format!(
            " (version {} desired, {} looked at)\n",
            version(self.desired_version),
            version(self.taken_version)
        ));
        let rows = self.modules.iter().map(|module| {
            let restarts = if module.restarts == 0 { String::new() } else { format!("{} restarts", module.restarts) };
            vec![format!("  {}", module.name), module.status.clone(), restarts, module.description.clone()]
        });
        text.push_str(&columns(&rows.collect::<Vec<_>>()));
        if let Some(deployed) = &self.deployed {
            text.push_str(&format!("Last deployed from here: {deployed}\n"));
        }
        text
    }
}

/// A configuration, and the devices that fail.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfConfiguration {
    #[serde(flatten)]
    progress: Progress,
    failing: Vec<OfDevice>,
}

impl Report for OfConfiguration {
    fn text(&self, style: Style) -> String {
        let Progress { id, targeted, applied, succeeded, failed, .. } = &self.progress;
        let mut text = format!(
            "Configuration {}: {targeted} targeted, {applied} applied, {succeeded} succeeded, {failed} failed\n",
            style.bold(id)
        );
        for device in &self.failing {
            text.push_str(&device.text(style));
        }
        text
    }
}

/// Asks the hub.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let is_done = if let Some(id) = &args.configuration {
        let service = configuration::service(args.to.as_deref(), context)?;
        let (progress, twins) = block_on(async {
            let found = service.find_configuration(id).await?.ok_or_else(|| configuration::missing(id))?;
            let query = format!(
                "SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND configurations.[[{id}]].status = 'Applied'"
            );
            Ok::<_, CommandError>((Progress::of(&found), service.query(&query).await?))
        })??;
        let name = |twin: &Value| twin.get("deviceId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let devices = twins.iter().map(|twin| OfDevice::of(name(twin), twin, None));
        // A device that has not looked yet, being away or busy, does not fail.
        let fails = |device: &OfDevice| device.taken_version == device.desired_version && !device.is_done;
        let failing: Vec<OfDevice> = devices.filter(fails).collect();
        let is_done = failing.is_empty() && progress.succeeded == progress.targeted;
        context.printer.result(&OfConfiguration { progress, failing });
        is_done
    } else {
        let place = Place::find(args.to.as_deref(), &solution, context)?;
        let twin = block_on(place.agent())??;
        let last = place.history.all()?.pop().map(|last| format!("{} at {}", last.manifest, last.at));
        let status = OfDevice::of(place.device.to_string(), &twin, last);
        let is_done = status.is_done;
        context.printer.result(&status);
        is_done
    };
    if is_done { Ok(()) } else { Err(CommandError::shown(crate::error::ErrorKind::Failed)) }
}
