//! This program, started again in the background to be a device or a fleet.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use edgectl_simulator::state::{Endpoints, StateDirectory};
use serde_json::Value;

use crate::commands::device;
use crate::error::{CommandError, ErrorKind};
use crate::service::access;
use crate::settings::Context;
use crate::solution::solution::Solution;

/// What has a command `up` that can be started so.
pub const ROOMS: [&str; 2] = ["sim", "fleet"];
/// The flag of one that was.
const DETACHED: &str = "--detached";
/// Lines of the log that are shown when it does not start.
const LOG_LINES: usize = 20;

/// The command that is started in the background: `up` of one of the rooms, to which flags are added.
pub fn command(room: &str, solution: &Solution, context: &Context) -> Command {
    let mut command = Command::new(&context.settings.program);
    command.arg("--json").arg("-C").arg(&solution.root).args([room, "up", DETACHED]);
    command.args((0..context.settings.verbose).map(|_| "-v"));
    command
}

/// Whether this process was started so.
pub fn is_this() -> bool {
    let argument = |number: usize| std::env::args_os().nth(number).unwrap_or_default();
    ROOMS.iter().any(|room| argument(4) == *room) && argument(6) == DETACHED
}

/// Starts a command that prints its endpoints when it is ready and then goes on, and waits for that.
pub fn start(mut command: Command, state: &StateDirectory) -> Result<Endpoints, CommandError> {
    state.create().map_err(access::damaged)?;
    // Told here, so that the message is not one from a log.
    drop(state.lock().map_err(device::state_error)?);
    let log = std::fs::File::create(state.log())
        .map_err(|error| CommandError::failed(format!("{}: {error}", state.log().display())))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().map_err(|error| CommandError::failed(format!("could not start: {error}")))?;
    let mut first = String::new();
    if let Some(out) = child.stdout.take() {
        let mut out = BufReader::new(out);
        // One that fails prints an error instead, over several lines, and ends.
        let _ = out.read_line(&mut first);
        if serde_json::from_str::<Endpoints>(&first).is_err() {
            let _ = out.read_to_string(&mut first);
        }
    }
    if let Ok(endpoints) = serde_json::from_str::<Endpoints>(&first) {
        return Ok(endpoints);
    }
    let status = child.wait().map_err(|error| CommandError::failed(error.to_string()))?;
    Err(failed(&first, status.code(), state))
}

/// What the process in the background said when it did not start.
fn failed(output: &str, status: Option<i32>, state: &StateDirectory) -> CommandError {
    let told = serde_json::from_str::<Value>(output).unwrap_or_default();
    let text = |name: &str| told.pointer(&format!("/error/{name}")).and_then(Value::as_str);
    let mut error = match text("message") {
        Some(message) => CommandError::new(kind_of(status), message),
        None => {
            let log = std::fs::read_to_string(state.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            CommandError::new(kind_of(status), format!("the device did not start\n{tail}"))
                .hint(format!("The whole log is {}.", state.log().display()))
        }
    };
    for hint in told.pointer("/error/hints").and_then(Value::as_array).into_iter().flatten() {
        error = error.hint(hint.as_str().unwrap_or_default());
    }
    error
}

fn kind_of(status: Option<i32>) -> ErrorKind {
    match status {
        Some(2) => ErrorKind::Usage,
        Some(3) => ErrorKind::Findings,
        Some(6) => ErrorKind::Missing,
        Some(1) => ErrorKind::Failed,
        _ => ErrorKind::Bug,
    }
}
