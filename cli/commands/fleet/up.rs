//! `edgectl fleet up`.

use edgectl_schemas::ids::DeviceId;
use edgectl_simulator::address::DeviceAddress;
use edgectl_simulator::device::Stopped;
use edgectl_simulator::fleet::chance::Seed;
use edgectl_simulator::fleet::fleet::{Fleet, FleetOptions, Shards};
use edgectl_simulator::fleet::generators::Behaviour;
use edgectl_simulator::fleet::registration::Tag;
use edgectl_simulator::state::Endpoints;
use serde::Serialize;

use super::command::{flag, solution};
use super::shards;
use crate::commands::background;
use crate::commands::device::{self, block_on};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::known_devices::KnownDevice;
use crate::solution::solution::Solution;

/// Most devices of a fleet.
const MAX_DEVICES: u32 = 10_000;

/// Start a fleet: each device has its identity, twin, agent and edge hub; generators run in place of modules
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What a device does follows from the seed and its name: the same fleet behaves in the same way each time. A module that a \
route leads to hands on what it gets; all others send measurements.")]
pub struct Args {
    /// How many devices
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DEVICES)))]
    devices: u32,
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// What the devices' names begin with; a number follows
    #[arg(long, value_name = "WORD", default_value = "device")]
    prefix: String,
    /// What all chance follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// How often a module sends, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = interval)]
    interval: f64,
    /// How many messages a module sends [default: no end]
    #[arg(long, value_name = "NUMBER")]
    messages: Option<u64>,
    /// Which share of the modules ends at each start
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share)]
    failing: f64,
    /// Which share of the devices never connects
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share)]
    offline: f64,
    /// A tag that devices without it get by chance, as in site=berlin:60%,paris:40%; may be given again
    #[arg(long = "tag", value_name = "NAME=VALUE:SHARE,…", value_parser = tag)]
    tags: Vec<Tag>,
    #[command(flatten)]
    shards: shards::Args,
    /// Listen at 127.0.N.2, given as 127.0.N.1
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// This is the process in the background
    #[arg(long, hide = true)]
    detached: bool,
}

/// Reads `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    number.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "not a share, as 5% or 0.05".to_owned())
}

fn interval(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds| (0.01..=86_400.0).contains(seconds));
    number.ok_or_else(|| "not a number of seconds from 0.01 to 86400".to_owned())
}

fn tag(text: &str) -> Result<Tag, String> {
    let wrong = || "not a tag, as site=berlin:60%,paris:40%".to_owned();
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    if name.is_empty() || name.split('.').any(str::is_empty) {
        return Err(wrong());
    }
    let values = values.split(',').map(|part| match part.rsplit_once(':') {
        Some((value, part)) => Ok((value.to_owned(), share(part)?)),
        // A value alone is for all.
        None => Ok((part.to_owned(), 1.0)),
    });
    let values = values.collect::<Result<Vec<_>, String>>()?;
    if values.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + 1e-9 {
        return Err("the shares are more than 100 % together".to_owned());
    }
    Ok(Tag { name: name.to_owned(), values })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started<'a> {
    #[serde(flatten)]
    endpoints: &'a Endpoints,
    devices: u32,
    #[serde(skip)]
    flag: String,
    #[serde(skip)]
    detached: bool,
}

impl Report for Started<'_> {
    fn text(&self, style: Style) -> String {
        let Endpoints { device_id, hub_host_name, hub_https_port, .. } = self.endpoints;
        let next = format!("edgectl {} deploy --configuration base --target-condition '*'", self.flag);
        format!(
            "Fleet {} is running: {} devices.\n  cloud hub  {hub_host_name}  MQTT 8883, AMQP 5671, HTTPS {hub_https_port}\nNext: {}{}\n",
            style.bold(device_id),
            self.devices,
            style.cyan(&next),
            if self.detached { "" } else { " (in another terminal); Ctrl-C stops" },
        )
    }
}

/// Starts the fleet, here or in the background.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = solution(context)?;
    if args.detach { start_behind(args, &solution, context) } else { run_here(args, &solution, context) }
}

fn run_here(args: &Args, solution: &Solution, context: &Context) -> Result<(), CommandError> {
    if args.detached {
        // Away from the terminal that started it. It fails only for a process that leads a session already.
        let _ = rustix::process::setsid();
    }
    device::start_logging(context.settings.verbose);
    let options = options(args, solution, args.shards.shards(solution, context)?)?;
    let stopped = block_on(async {
        let mut signals = device::Signals::listen()?;
        // A signal waits meanwhile: what was started half could not be stopped.
        let fleet = Fleet::start(options).await.map_err(device::start_error)?;
        let outcome = tokio::select! {
            outcome = stay(&fleet, args, solution, context) => outcome,
            signal = signals.next() => Err(signal),
        };
        fleet.stop().await;
        outcome
    })??;
    match stopped {
        Stopped::Asked => Ok(()),
        Stopped::StateRemoved => {
            Err(CommandError::failed(format!("{} was removed; the fleet is stopped", solution.state().display())))
        }
    }
}

/// Says that the fleet runs as soon as it does, and waits for its end.
async fn stay(fleet: &Fleet, args: &Args, solution: &Solution, context: &Context) -> Result<Stopped, CommandError> {
    let endpoints = fleet.ready().await.map_err(device::start_error)?;
    if let Some(index) = &context.settings.device_index {
        KnownDevice::of(solution).remember(index);
    }
    let started = Started { endpoints, devices: args.devices, flag: flag(solution), detached: args.detached };
    context.printer.item(&started);
    Ok(fleet.stopped().await)
}

fn options(args: &Args, solution: &Solution, shards: Option<Shards>) -> Result<FleetOptions, CommandError> {
    args.shards.check()?;
    let width = args.devices.to_string().len().max(4);
    let name = |number: u32| DeviceId::new(&format!("{}-{number:0width$}", args.prefix));
    let devices = (1..=args.devices).map(name).collect::<Result<Vec<_>, _>>();
    Ok(FleetOptions {
        name: solution.device.clone(),
        state: solution.device_state(),
        preferred: DeviceAddress::preferred(&solution.address_key()),
        address: device::address(args.address.as_deref())?,
        devices: devices.map_err(|error| CommandError::usage(format!("--prefix {}: {error}", args.prefix)))?,
        behaviour: Behaviour {
            seed: Seed(args.seed),
            interval: std::time::Duration::from_secs_f64(args.interval),
            messages: args.messages,
            failing: args.failing,
        },
        offline: args.offline,
        tags: args.tags.clone(),
        custom_endpoints: device::custom_endpoints(solution, None),
        shards,
    })
}

/// Starts this program again in the background and waits until the fleet runs.
fn start_behind(args: &Args, solution: &Solution, context: &Context) -> Result<(), CommandError> {
    // What is wrong with them is told here.
    options(args, solution, None)?;
    let mut command = background::command("fleet", solution, context);
    command.arg("--device").arg(solution.device.as_str());
    command.arg(format!("--devices={}", args.devices)).arg(format!("--prefix={}", args.prefix));
    command.arg(format!("--seed={}", args.seed)).arg(format!("--interval={}", args.interval));
    command.arg(format!("--failing={}", args.failing)).arg(format!("--offline={}", args.offline));
    command.args(args.messages.iter().map(|messages| format!("--messages={messages}"))).args(args.shards.given());
    command.args(args.address.iter().map(|address| format!("--address={address}")));
    for Tag { name, values } in &args.tags {
        let values: Vec<String> = values.iter().map(|(value, share)| format!("{value}:{share}")).collect();
        command.arg(format!("--tag={name}={}", values.join(",")));
    }
    let endpoints = background::start(command, &solution.device_state())?;
    context.printer.result(&Started {
        endpoints: &endpoints,
        devices: args.devices,
        flag: flag(solution),
        detached: true,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_tags_are_read() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.5"), Ok(0.5));
        assert!(share("101%").is_err() && share("-1").is_err() && share("NaN").is_err());
        let tag = |text| super::tag(text).map(|tag| (tag.name, tag.values));
        let two = vec![("berlin".to_owned(), 0.6), ("paris".to_owned(), 0.4)];
        assert_eq!(tag("site=berlin:60%,paris:40%"), Ok(("site".to_owned(), two)));
        assert_eq!(tag("a.b=c"), Ok(("a.b".to_owned(), vec![("c".to_owned(), 1.0)])));
        assert!(tag("site").is_err() && tag("=a").is_err() && tag("a=b:60%,c:60%").is_err() && tag("a..b=c").is_err());
    }
}
