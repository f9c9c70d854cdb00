//! `edgectl exec`.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use edgectl_simulator::control::{ControlError, Request};
use edgectl_simulator::runtime::docker::exec::{ExecRequest, exec};
use edgectl_simulator::runtime::module_runtime::{LogStream, ModulePlace};
use edgectl_simulator::state::StateDirectory;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::commands::device::{Signals, ask, block_on, with_hint};
use crate::commands::module_name;
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Printer;
use crate::output::terminal::RawTerminal;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl exec filter -- env
  edgectl exec filter -- sh                  a shell, where the module has one
  echo 1 | edgectl exec filter -- tee /tmp/x";

/// The exit status for a command that is not there.
const NOT_FOUND: u8 = 127;
/// The exit status for a command that cannot be started.
const CANNOT_RUN: u8 = 126;

/// Run a command where a module runs: in its container, or with its environment in its folder
#[derive(Debug, clap::Args)]
#[command(
    before_help = EXAMPLES,
    after_help = "A module that is a container runs the command in it, and must be running; with a terminal where standard \
                  input is one. For a module that is a process of this machine the command is another process, with the \
                  module's environment and working directory. The exit status is the command's; 126 or 127 where it cannot be \
                  started."
)]
pub struct Args {
    /// The module
    module: String,
    /// The command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command, and ends with its exit status.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let state = solution.device_state();
    let place = block_on(async {
        let place = place(&state, &args.module).await;
        match place {
            Ok(place) => Ok(place),
            Err(error) => Err(module_name::error(error, std::slice::from_ref(&args.module), &state).await),
        }
    })??;
    match place {
        ModulePlace::Process { folder, env } => Err(become_command(&args.command, &folder, env)),
        ModulePlace::Container { engine, name } => in_container(&args.command, &engine, name, &context.printer),
    }
}

async fn place(state: &StateDirectory, module: &str) -> Result<ModulePlace, ControlError> {
    let value = ask(state, &Request::Place { module: module.to_owned() }).await?;
    serde_json::from_value(value).map_err(|error| ControlError::Failed(format!("a place that is none: {error}")))
}

/// Becomes the command: terminal, signals and exit status are its own. Returns only if it cannot be started.
fn become_command(
    argv: &[String],
    folder: &std::path::Path,
    env: std::collections::BTreeMap<String, String>,
) -> CommandError {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let error = Command::new(program).args(argv.iter().skip(1)).env_clear().envs(env).current_dir(folder).exec();
    let told = format!("{program}: {error}");
    // As shells have it, and container engines.
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    CommandError::new(ErrorKind::OfCommand(status), told)
}

fn in_container(argv: &[String], engine: &str, container: String, printer: &Printer) -> Result<(), CommandError> {
    let host = engine.parse().map_err(|error| with_hint(CommandError::failed, &error))?;
    let terminal = RawTerminal::enter().map_err(|error| CommandError::failed(format!("the terminal: {error}")))?;
    let status = block_on(async {
        let mut signals = Signals::listen()?;
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let stdin = stdin.map_err(|error| CommandError::failed(format!("standard input: {error}")))?;
        let stdin = tokio::fs::File::from_std(stdin.into());
        let size = terminal.as_ref().map(|_| watch::channel(RawTerminal::size()));
        let (resized, size) = size.map_or((None, None), |(sender, receiver)| (Some(sender), Some(receiver)));
        let request = ExecRequest { host, container, argv: argv.to_vec(), stdin, terminal: size };
        let print = |stream, bytes: &[u8]| match stream {
            LogStream::Stdout => printer.raw(bytes),
            LogStream::Stderr => printer.raw_trouble(bytes),
        };
        let watching = async {
            match resized {
                Some(resized) => watch_size(&resized).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = exec(request, print) => status.map_err(|error| with_hint(CommandError::failed, &error)),
            signal = signals.next() => Err(signal),
            () = watching => Err(CommandError::failed("the terminal's size cannot be watched")),
        }
    })?;
    // The terminal is given back before anything is said.
    drop(terminal);
    match status? {
        0 => Ok(()),
        status => Err(CommandError::shown(ErrorKind::OfCommand(u8::try_from(status).unwrap_or(u8::MAX)))),
    }
}

async fn watch_size(resized: &watch::Sender<(u16, u16)>) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return std::future::pending().await };
    while changes.recv().await.is_some() {
        resized.send_replace(RawTerminal::size());
    }
}
