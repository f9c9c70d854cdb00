//! `edgectl sim down`.

use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::state::StateError;
use serde::Serialize;

use crate::commands::device::{self, block_on};
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::solution::Solution;

/// Stop the simulated device of this solution and all its modules
#[derive(Debug, clap::Args)]
#[command(after_help = "Its state stays: `edgectl sim up` goes on where it was. Remove `.edgectl` to start afresh.")]
pub struct Args {}

/// What is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// One device.
    Device,
    /// A fleet.
    Fleet,
}

#[derive(Serialize)]
struct Stopped {
    stopped: bool,
    #[serde(skip)]
    subject: Subject,
}

impl Report for Stopped {
    fn text(&self, _style: Style) -> String {
        let subject = match self.subject {
            Subject::Device => "simulated device",
            Subject::Fleet => "fleet",
        };
        if self.stopped { format!("The {subject} is stopped.\n") } else { format!("No {subject} was running.\n") }
    }
}

/// Stops the device. That none runs is no error: what was asked for is so.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    stop(&context.solution()?, Subject::Device, context)
}

/// Stops what runs with the state of a solution's device.
pub fn stop(solution: &Solution, subject: Subject, context: &Context) -> Result<(), CommandError> {
    let state = solution.device_state();
    let stopped = match block_on(device::ask(&state, &Request::Stop))? {
        // The last answer may get lost when the device is quicker to go.
        Ok(_) | Err(ControlError::Interrupted) => true,
        Err(ControlError::NotRunning) => match state.lock() {
            Err(StateError::Running { process }) => return Err(stuck(process)),
            _ => false,
        },
        Err(error) => return Err(device::control_error(error)),
    };
    if stopped {
        device::wait_until_gone(&state)?;
    }
    context.printer.result(&Stopped { stopped, subject });
    Ok(())
}

fn stuck(process: Option<u32>) -> CommandError {
    let name = process.map_or_else(|| "its process".to_owned(), |id| format!("process {id}"));
    CommandError::new(ErrorKind::Failed, format!("the simulated device ({name}) does not listen to its control socket"))
        .hint("It may be starting or stopping: try again in a moment.")
        .hint(process.map_or_else(|| "End its process.".to_owned(), |id| format!("End it with `kill {id}`.")))
}
