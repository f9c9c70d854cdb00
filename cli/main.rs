//! The `edgectl` command: parse, dispatch, print the error, exit with its status.

mod commands;
mod doctor;
mod error;
mod image;
mod output;
mod scaffold;
mod screen;
mod service;
mod settings;
mod solution;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Printer;
use crate::settings::{Context, GlobalFlags};

/// The hub gives memory back on other threads than it took it on, which the system's allocator takes locks for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  edgectl demo                         everything once, in a directory it names
  edgectl new my-solution              scaffold a solution
  edgectl sim up -d && edgectl deploy  run it on a simulated device
  edgectl events -f                    watch what reaches the cloud

Exit status: 0 done, 1 failed, 2 usage, 3 findings, 4 an assertion failed, 5 a build failed,
6 something on the machine is missing, 7 timed out, 8 changes present, 9 denied, 70 a bug of ours.";

/// Build an edge solution and run it on a simulated device: no account, no network, no telemetry
#[derive(Debug, Parser)]
#[command(name = "edgectl", version, before_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    New(commands::new::Args),
    Add(commands::add::Args),
    Template(commands::template::Args),
    Build(commands::build::Args),
    Registry(commands::registry::Args),
    Sim(commands::sim::command::Args),
    Fleet(commands::fleet::command::Args),
    Deploy(commands::deploy::command::Args),
    Status(commands::status::Args),
    Top(commands::top::Args),
    Logs(commands::logs::Args),
    Restart(commands::restart::Args),
    Exec(commands::exec::Args),
    Events(commands::events::Args),
    Twin(commands::twin::Args),
    Method(commands::method::Args),
    Message(commands::message::command::Args),
    Inspect(commands::inspect::Args),
    Metrics(commands::metrics::Args),
    SupportBundle(commands::support_bundle::Args),
    Leaf(commands::leaf::Args),
    Enrollment(commands::enrollment::Args),
    ConnectionString(commands::connection_string::Args),
    Query(commands::query::Args),
    Configuration(commands::configuration::Args),
    Render(commands::render::Args),
    Validate(commands::validate::Args),
    Route(commands::route::command::Args),
    Layers(commands::layers::Args),
    Schema(commands::schema::Args),
    Explain(commands::explain::Args),
    Doctor(commands::doctor::Args),
    Version(commands::version::Args),
    #[command(hide = true)]
    Internal(commands::internal::Args),
}

/// What this program starts itself as. A device in the background goes on running for long, and what it had read of all other
/// commands would stay in its memory.
#[derive(Debug, Parser)]
struct Own {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: OwnCommand,
}

#[derive(Debug, Subcommand)]
enum OwnCommand {
    Sim(commands::sim::command::Args),
    Fleet(commands::fleet::command::Args),
    Internal(commands::internal::Args),
}

impl From<Own> for Cli {
    fn from(own: Own) -> Self {
        let command = match own.command {
            OwnCommand::Sim(args) => Command::Sim(args),
            OwnCommand::Fleet(args) => Command::Fleet(args),
            OwnCommand::Internal(args) => Command::Internal(args),
        };
        Self { global: own.global, command }
    }
}

/// Whether nobody typed this.
fn is_own() -> bool {
    std::env::args_os().nth(1).is_some_and(|first| first == commands::internal::NAME) || commands::background::is_this()
}

fn dispatch(command: Command, context: &Context) -> Result<(), CommandError> {
    match command {
        Command::Demo(args) => commands::demo::run(args, context),
        Command::New(args) => commands::new::run(args, context),
        Command::Add(args) => commands::add::run(args, context),
        Command::Template(args) => commands::template::run(args, context),
        Command::Build(args) => commands::build::run(args, context),
        Command::Registry(args) => commands::registry::run(args, context),
        Command::Sim(args) => commands::sim::command::run(args, context),
        Command::Fleet(args) => commands::fleet::command::run(args, context),
        Command::Deploy(args) => commands::deploy::command::run(args, context),
        Command::Status(args) => commands::status::run(&args, context),
        Command::Top(args) => commands::top::run(args, context),
        Command::Logs(args) => commands::logs::run(args, context),
        Command::Restart(args) => commands::restart::run(args, context),
        Command::Exec(args) => commands::exec::run(args, context),
        Command::Events(args) => commands::events::run(args, context),
        Command::Twin(args) => commands::twin::run(args, context),
        Command::Method(args) => commands::method::run(args, context),
        Command::Message(args) => commands::message::command::run(args, context),
        Command::Inspect(args) => commands::inspect::run(args, context),
        Command::Metrics(args) => commands::metrics::run(&args, context),
        Command::SupportBundle(args) => commands::support_bundle::run(args, context),
        Command::Leaf(args) => commands::leaf::run(args, context),
        Command::Enrollment(args) => commands::enrollment::run(args, context),
        Command::ConnectionString(args) => commands::connection_string::run(args, context),
        Command::Query(args) => commands::query::run(&args, context),
        Command::Configuration(args) => commands::configuration::run(args, context),
        Command::Internal(args) => commands::internal::run(args, context),
        Command::Render(args) => commands::render::run(args, context),
        Command::Schema(args) => commands::schema::run(args, context),
        Command::Layers(args) => commands::layers::run(&args, context),
        Command::Route(args) => commands::route::command::run(args, context),
        Command::Validate(args) => commands::validate::run(args, context),
        Command::Explain(args) => commands::explain::run(args, context),
        Command::Doctor(args) => commands::doctor::run(args, context),
        Command::Version(args) => commands::version::run(args, context),
    }
}

fn main() -> ExitCode {
    let parsed = if is_own() { Own::try_parse().map(Cli::from) } else { Cli::try_parse() };
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage_error(&error),
    };
    let context = match Context::resolve(&cli.global) {
        Ok(context) => context,
        Err(error) => {
            return usage_error(&clap::Error::raw(clap::error::ErrorKind::Io, format!("the directory: {error}\n")));
        }
    };
    match dispatch(cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_shown() {
                context.printer.error(&error);
            }
            ExitCode::from(error.kind.status())
        }
    }
}

/// Lets clap print its own message: help and version are results, all else is a usage error.
fn usage_error(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if wants_json && error.use_stderr() {
        // The flags could not be read as a whole, so nothing is resolved yet.
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        Printer::plain_json().error(&CommandError::usage(text));
        return ExitCode::from(ErrorKind::Usage.status());
    }
    // Nothing more can be said when not even this can be printed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(ErrorKind::Usage.status()) } else { ExitCode::SUCCESS }
}
