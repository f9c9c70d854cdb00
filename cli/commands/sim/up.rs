//! `edgectl sim up`.

use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::SharedKey;
use edgectl_simulator::above::Parent;
use edgectl_simulator::custom_endpoints::event::ReceivedEvent;
use edgectl_simulator::device::{Device, Stopped};
use edgectl_simulator::runtime::choice::RuntimeChoice;
use edgectl_simulator::state::{Endpoints, ServiceAccess, read_json};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::commands::device::{self, block_on};
use crate::commands::events::Event;
use crate::commands::{background, leaf};
use crate::error::CommandError;
use crate::image::{plan, tool};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::service::access;
use crate::service::client::ServiceClient;
use crate::settings::Context;
use crate::solution::known_devices::KnownDevice;
use crate::solution::profile;
use crate::solution::solution::Solution;
use crate::watch::session;

/// Messages that wait to be printed.
const PRINT_QUEUE: usize = 64;

const EXAMPLES: &str = "\
Examples:
  edgectl sim up                    in the foreground; Ctrl-C stops everything
  edgectl sim up -d                 in the background, until `edgectl sim down`
  edgectl sim up --watch            build and deploy, and again whatever changes
  edgectl sim up --runtime docker   every module in a container
  edgectl sim up --address 127.0.7.1
  edgectl --device child sim up --parent plant     a second device, below the first
  edgectl sim up --profile raspberry-pi-4   accept what that machine would, and no more
  edgectl sim up --metrics-port 9600  let Prometheus read metrics
  edgectl sim up --durability power   acknowledge a message when it is on the disk";

/// Start the simulated device of this solution
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are independent of each other")]
pub struct Args {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Build and deploy the solution, then follow its files: build and restart the modules that change, and deploy when
    /// the deployment template does
    #[arg(long, conflicts_with_all = ["detach", "detached"])]
    watch: bool,
    /// With --watch: the platform that is built and deployed, by its name in module.json
    #[arg(long, value_name = "PLATFORM", env = "DEFAULT_PLATFORM", default_value = plan::DEFAULT_PLATFORM)]
    platform: String,
    /// Listen at this address, 127.0.N.1; the cloud hub gets 127.0.N.2
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Run below this simulated device of the solution, which must be running: its edge hub is the way to the cloud hub
    /// [default: what `parents` of edgectl.yaml says, else where it was when it last ran]
    #[arg(long, value_name = "DEVICE")]
    parent: Option<String>,
    /// What an acknowledged message outlives: nothing, the death of the process, or a loss of power
    #[arg(long, value_name = "WHAT", value_parser = ["memory", "process", "power"])]
    durability: Option<String>,
    /// Be like this machine: a name that `edgectl sim profiles` lists, the path of a file, or `none` [default: `profile` of
    /// edgectl.yaml, else none]
    #[arg(long, value_name = "NAME|FILE")]
    profile: Option<String>,
    /// Run the modules' images and no built-in stand-ins
    #[arg(long)]
    no_builtins: bool,
    /// Run modules as processes, as containers, or as a process where one is known for the image and as a container
    /// otherwise [default: `runtime` of edgectl.yaml, else auto]
    #[arg(long, value_name = "process|docker|auto")]
    runtime: Option<RuntimeChoice>,
    /// Serve metrics for Prometheus over HTTP at this port of the edge hub's address; 0 picks one
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Give containers no privileges, whatever their options say: no Privileged, no added capabilities, no CHOWN and
    /// SETUID. As a real device whose daemon has `allow_elevated_docker_permissions` off
    #[arg(long)]
    no_elevated: bool,
    /// This is the process in the background
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started<'a> {
    #[serde(flatten)]
    endpoints: &'a Endpoints,
    detached: bool,
    /// Whether its files are followed, so that nobody need deploy.
    #[serde(skip)]
    watched: bool,
    /// What other commands need to work with this device.
    #[serde(skip)]
    flag: String,
}

impl Report for Started<'_> {
    fn text(&self, style: Style) -> String {
        let Endpoints { device_id, gateway_host_name, hub_host_name, hub_https_port, gateway_has_https, .. } =
            self.endpoints;
        let mut text = format!(
            "Device {} is running.\n  edge hub   {gateway_host_name}  MQTT 8883, AMQP 5671{}\n  cloud hub  {hub_host_name}  MQTT 8883, AMQP 5671, HTTPS {hub_https_port}\n",
            style.bold(device_id),
            if *gateway_has_https { ", HTTPS 443" } else { "" },
        );
        if let Some(url) = &self.endpoints.metrics_url {
            text.push_str(&format!("  metrics    {url}\n"));
        }
        if let Some(profile) = &self.endpoints.profile {
            text.push_str(&format!("  profile    {profile}\n"));
        }
        if let Some(parent) = &self.endpoints.parent {
            text.push_str(&format!("  below      {parent}\n"));
        }
        if !gateway_has_https {
            text.push_str(
                "  Port 443 needs a privilege: methods from module to module, and MQTT in WebSockets, are off.\n  \
                 To have it: sudo sysctl net.ipv4.ip_unprivileged_port_start=443\n",
            );
        }
        if self.watched {
            text.push_str("Ctrl-C stops.\n");
            return text;
        }
        let next = format!("edgectl {}deploy", self.flag);
        let rest = if self.detached { "" } else { " (in another terminal); Ctrl-C stops" };
        text.push_str(&format!("Next: {}{rest}\n", style.cyan(&next)));
        text
    }
}

fn flag(solution: &Solution) -> String {
    if solution.device_is_own { String::new() } else { format!("--device {} ", solution.device) }
}

/// Starts the device, here or in the background.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    if args.detach { start_behind(&args, &solution, context) } else { run_here(&args, &solution, context) }
}

fn run_here(args: &Args, solution: &Solution, context: &Context) -> Result<(), CommandError> {
    if args.detached {
        // Away from the terminal that started it. It fails only for a process that leads a session already.
        let _ = rustix::process::setsid();
    }
    if args.watch && args.runtime.unwrap_or(solution.runtime) == RuntimeChoice::Docker {
        return Err(CommandError::usage("--watch builds modules as processes, and with --runtime docker none is one")
            .hint("Leave --runtime away, or set it to `auto` or `process`."));
    }
    device::start_logging(context.settings.verbose);
    let parent = parent(args, solution)?;
    let mut options = device::options(solution, context, args.address.as_deref(), !args.no_builtins, parent)?;
    if let Some(word) = &args.durability {
        options.durability = word.parse().map_err(CommandError::usage)?;
    }
    options.runtime = args.runtime.unwrap_or(options.runtime);
    options.containers.is_restricted = args.no_elevated;
    options.metrics_port = args.metrics_port;
    if let Some(name) = &args.profile {
        options.profile = profile::resolve(name, &context.settings.directory, solution)?;
    }
    let (printed, to_print) = mpsc::channel(PRINT_QUEUE);
    if !args.detached {
        options.custom_endpoints.printed = Some(printed);
    }
    let stopped = block_on(async {
        let mut signals = device::Signals::listen()?;
        let device = tokio::select! {
            device = Device::start(options) => device.map_err(device::start_error)?,
            signal = signals.next() => return Err(signal),
        };
        if let Some(index) = &context.settings.device_index {
            KnownDevice::of(solution).remember(index);
        }
        let started = Started {
            endpoints: device.endpoints(),
            detached: args.detached,
            watched: args.watch,
            flag: flag(solution),
        };
        context.printer.item(&started);
        let outcome = tokio::select! {
            stopped = device.stopped() => Ok(stopped),
            signal = signals.next() => Err(signal),
            failed = follow(args, solution, context) => Err(failed),
            never = print(to_print, context) => match never {},
        };
        // A build that is going on ends with the device.
        tool::stop_all();
        device.stop().await;
        outcome
    })??;
    match stopped {
        Stopped::Asked => Ok(()),
        Stopped::StateRemoved => {
            Err(CommandError::failed(format!("{} was removed; the device is stopped", solution.state().display())))
        }
    }
}

/// Prints what the cloud hub brings to standard output.
async fn print(mut events: mpsc::Receiver<ReceivedEvent>, context: &Context) -> std::convert::Infallible {
    while let Some(event) = events.recv().await {
        if let Ok(event) = serde_json::to_value(event) {
            context.printer.item(&Event(event));
        }
    }
    std::future::pending().await
}

/// Follows the solution's files, if that is wanted. Returns why it cannot go on, and otherwise never.
async fn follow(args: &Args, solution: &Solution, context: &Context) -> CommandError {
    if !args.watch {
        return std::future::pending().await;
    }
    match session::run(context, solution, &args.platform).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// The device above, named now or when this one ran before. It is registered as that, which an operator does for real
/// devices.
fn parent(args: &Args, solution: &Solution) -> Result<Option<Parent>, CommandError> {
    let last = read_json::<Endpoints>(&solution.device_state().endpoints()).map_err(access::damaged)?;
    let told = args.parent.as_ref().or_else(|| solution.parents.get(solution.device.as_str())).cloned();
    let Some(name) = told.or_else(|| last.and_then(|endpoints| endpoints.parent)) else {
        return Ok(None);
    };
    let above = Solution::load(&solution.root)?.with_device(&name)?;
    if above.device == solution.device {
        return Err(CommandError::usage(format!("{name} cannot be its own parent"))
            .hint("Name the lower device, as in `edgectl --device child sim up --parent plant`."));
    }
    let state = above.device_state();
    let not_running = || CommandError::failed(format!("the simulated device {name} is not running"));
    if !access::is_running(&state) {
        return Err(not_running().hint(format!("Run `edgectl --device {name} sim up -d` first.")));
    }
    let endpoints: Endpoints = read_json(&state.endpoints()).map_err(access::damaged)?.ok_or_else(not_running)?;
    let service: ServiceAccess = read_json(&state.service()).map_err(access::damaged)?.ok_or_else(not_running)?;
    let client = ServiceClient::new(access::simulated(&above)?)?;
    let device_key = block_on(register_below(&client, &above.device, &solution.device))??;
    Ok(Some(Parent { endpoints, service, control_socket: state.control_socket(), device_key }))
}

/// Registers an edge device below another one; returns its key.
async fn register_below(
    service: &ServiceClient,
    above: &DeviceId,
    device: &DeviceId,
) -> Result<SharedKey, CommandError> {
    let scope = leaf::scope_of(service, above).await?;
    let wanted = json!({ "deviceId": device, "capabilities": { "iotEdge": true }, "parentScopes": [&scope] });
    let registration = match service.find_device(device.as_str()).await? {
        None => service.put_device(device.as_str(), &wanted).await?,
        Some(found) if found.pointer("/parentScopes/0").and_then(serde_json::Value::as_str) == Some(&scope) => found,
        Some(_) => service.change_device(device.as_str(), &wanted).await?,
    };
    leaf::key(&registration, device.as_str())
}

/// Starts this program again in the background and waits until the device says that it runs.
fn start_behind(args: &Args, solution: &Solution, context: &Context) -> Result<(), CommandError> {
    let state = solution.device_state();
    let mut command = background::command("sim", solution, context);
    command.args(args.address.iter().flat_map(|address| ["--address", address]));
    command.args(args.runtime.iter().flat_map(|runtime| ["--runtime", runtime.as_str()]));
    command.arg("--device").arg(solution.device.as_str());
    command.args(args.parent.iter().flat_map(|parent| ["--parent", parent]));
    command.args(args.durability.iter().flat_map(|durability| ["--durability", durability]));
    command.args(args.metrics_port.map(|port| format!("--metrics-port={port}")));
    let profile = args.profile.as_ref().map(|name| {
        // The process in the background works elsewhere.
        profile::file_of(name, &context.settings.directory)
            .map_or_else(|| name.into(), std::path::PathBuf::into_os_string)
    });
    command.args(profile.iter().flat_map(|profile: &std::ffi::OsString| ["--profile".as_ref(), profile.as_os_str()]));
    command.args(args.no_builtins.then_some("--no-builtins"));
    command.args(args.no_elevated.then_some("--no-elevated"));
    let endpoints = background::start(command, &state)?;
    context.printer.result(&Started { endpoints: &endpoints, detached: true, watched: false, flag: flag(solution) });
    Ok(())
}
