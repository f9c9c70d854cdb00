//! `edgectl sim network`.

use std::time::Duration;

use edgectl_simulator::control::Request;
use edgectl_simulator::link::{Conditions, Faults};
use serde::Serialize;

use crate::commands::device::{self, block_on};
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl sim network offline
  edgectl sim network set --latency 200ms --jitter 50ms --loss 2%
  edgectl sim network set --bandwidth 64kbit --direction up
  edgectl sim network set --half-open     bytes are accepted, and nothing arrives
  edgectl sim network reset               online, without faults
  edgectl sim network                     what it is like now

It is the network between the device and the hub above it; everything on the device goes on without it. It is as
before when the device is started again. What is lost of a stream is sent again, so loss shows as delay.";

/// The network between the device and the hub above it
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What it is like
    Status,
    /// Cut it: connections end, and none can be made
    Offline,
    /// Mend it; faults that were set stay
    Online,
    /// Set faults; those that are not named become none
    Set(Set),
    /// Online, and without any fault
    Reset,
}

/// Faults of one direction or both.
#[derive(Debug, clap::Args)]
struct Set {
    /// How long everything takes: `200ms`, `1.5s`, `2m`
    #[arg(long, value_name = "TIME", value_parser = time)]
    latency: Option<Duration>,
    /// How much longer or shorter it may take
    #[arg(long, value_name = "TIME", value_parser = time)]
    jitter: Option<Duration>,
    /// The share of packets that are lost: `2%`, `0.02`
    #[arg(long, value_name = "SHARE", value_parser = share)]
    loss: Option<f64>,
    /// How much fits through: `64kbit`, `1mbit`, or bits in a second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    bandwidth: Option<u64>,
    /// Accept bytes, and let nothing arrive
    #[arg(long)]
    half_open: bool,
    /// From the device, to the device, or both
    #[arg(long, value_enum, default_value_t = Direction::Both)]
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Direction {
    /// From the device to the hub
    Up,
    /// From the hub to the device
    Down,
    /// Both ways
    Both,
}

#[derive(Serialize)]
struct Network<'a>(&'a Conditions);

impl Report for Network<'_> {
    fn text(&self, style: Style) -> String {
        let Conditions { online, up, down } = self.0;
        let state = if *online { "online" } else { "offline" };
        let mut text = format!("The device is {}.\n", style.bold(state));
        for (name, faults) in [("up", up), ("down", down)] {
            if let Some(described) = described(faults) {
                text.push_str(&format!("  {name:<5} {described}\n"));
            }
        }
        text
    }
}

/// The faults of a direction in words; none if there are none.
pub fn described(faults: &Faults) -> Option<String> {
    let Faults { latency_ms, jitter_ms, loss, bandwidth, half_open } = faults;
    let mut words = Vec::new();
    if *latency_ms > 0 {
        words.push(format!("latency {latency_ms} ms"));
    }
    if *jitter_ms > 0 {
        words.push(format!("jitter {jitter_ms} ms"));
    }
    if *loss > 0.0 {
        words.push(format!("loss {} %", loss * 100.0));
    }
    if let Some(bits) = bandwidth {
        words.push(format!("bandwidth {bits} bit/s"));
    }
    if *half_open {
        words.push("half open".to_owned());
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// Asks for the network's state, and changes it first if that is wanted.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let state = context.solution()?.device_state();
    let ask = |conditions: Option<Conditions>| -> Result<Conditions, CommandError> {
        let answer = block_on(device::ask(&state, &Request::Network { conditions }))?.map_err(device::control_error)?;
        serde_json::from_value(answer).map_err(|error| CommandError::failed(format!("the device's answer: {error}")))
    };
    let now = ask(None)?;
    let wanted = match &args.command {
        None | Some(Command::Status) => None,
        Some(Command::Offline) => Some(Conditions { online: false, ..now.clone() }),
        Some(Command::Online) => Some(Conditions { online: true, ..now.clone() }),
        Some(Command::Reset) => Some(Conditions::default()),
        Some(Command::Set(set)) => Some(set.applied_to(now.clone())?),
    };
    let conditions = if wanted.is_some() { ask(wanted)? } else { now };
    context.printer.result(&Network(&conditions));
    Ok(())
}

impl Set {
    fn applied_to(&self, mut conditions: Conditions) -> Result<Conditions, CommandError> {
        let nothing = self.latency.is_none() && self.jitter.is_none() && self.loss.is_none();
        if nothing && self.bandwidth.is_none() && !self.half_open {
            return Err(CommandError::usage("there is no fault to set")
                .hint("Name one, as in `--latency 200ms`, or use `edgectl sim network reset`."));
        }
        let milliseconds = |time: Option<Duration>| time.map_or(0, |time| time.as_millis() as u64);
        let faults = Faults {
            latency_ms: milliseconds(self.latency),
            jitter_ms: milliseconds(self.jitter),
            loss: self.loss.unwrap_or_default(),
            bandwidth: self.bandwidth,
            half_open: self.half_open,
        };
        if self.direction != Direction::Down {
            conditions.up = faults.clone();
        }
        if self.direction != Direction::Up {
            conditions.down = faults;
        }
        Ok(conditions)
    }
}

/// A number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = split(text).and_then(|(number, unit)| match unit {
        "ms" => Some(number / 1000.0),
        "s" => Some(number),
        "m" | "min" => Some(number * 60.0),
        "h" => Some(number * 3600.0),
        _ => None,
    });
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "a time is a number with its unit, as in 200ms, 1.5s or 2m".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = split(text).and_then(|(number, unit)| match unit {
        "%" => Some(number / 100.0),
        "" => Some(number),
        _ => None,
    });
    share.filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| "a share is from 0% to below 100%".to_owned())
}

fn rate(text: &str) -> Result<u64, String> {
    let bits = split(text).and_then(|(number, unit)| match unit.to_ascii_lowercase().as_str() {
        "" | "bit" => Some(number),
        "kbit" => Some(number * 1e3),
        "mbit" => Some(number * 1e6),
        "gbit" => Some(number * 1e9),
        _ => None,
    });
    bits.filter(|bits| *bits >= 1.0)
        .and_then(|bits| format!("{bits:.0}").parse().ok())
        .ok_or_else(|| "a rate is bits in a second, as in 64kbit or 1mbit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("2m"), Ok(Duration::from_mins(2)));
        assert!(time("200").is_err() && time("fast").is_err() && time("-1s").is_err());
        assert_eq!((share("2%"), share("0.5")), (Ok(0.02), Ok(0.5)));
        assert!(share("100%").is_err() && share("x").is_err());
        assert_eq!((rate("64kbit"), rate("1.5Mbit"), rate("9600")), (Ok(64_000), Ok(1_500_000), Ok(9_600)));
        assert!(rate("0").is_err() && rate("1 furlong").is_err());
    }
}
