//! `edgectl sim snapshot` and `edgectl sim restore`.

use edgectl_simulator::snapshot::{Snapshot, SnapshotError, SnapshotName, Snapshots};
use edgectl_simulator::state::StateError;
use serde::Serialize;

use crate::commands::device;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl sim down && edgectl sim snapshot before-update
  edgectl sim snapshot list
  edgectl sim restore before-update && edgectl sim up -d
  edgectl sim snapshot remove before-update";

/// Keep the state of the stopped device under a name, to go back to it
#[derive(Debug, clap::Args)]
#[command(
    before_help = EXAMPLES,
    after_help = "A snapshot holds what the device is: identities with their keys, twins, messages that wait, what reached \
                  the cloud hub, logs of modules. The device must be stopped: exit status 1 otherwise, or when there is a \
                  snapshot of that name. Snapshots lie in `.edgectl/snapshots`, for the user's eyes only.",
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The name of the snapshot: letters, digits, `-`, `_` and `.`
    #[arg(required = true)]
    name: Option<SnapshotName>,
    /// Replace a snapshot of that name
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Restore(RestoreArgs),
    /// List the snapshots of the device, the oldest first
    List,
    /// Remove a snapshot
    Remove {
        /// The snapshot
        name: SnapshotName,
    },
}

/// Make the state of the stopped device what it was in a snapshot
#[derive(Debug, clap::Args)]
#[command(after_help = "What the device kept since is gone; take another snapshot first to keep it.")]
pub struct RestoreArgs {
    /// The snapshot
    name: SnapshotName,
}

/// What was done with a snapshot.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    snapshot: Snapshot,
    #[serde(skip)]
    text: String,
}

impl Report for Done {
    fn text(&self, _style: Style) -> String {
        self.text.clone()
    }
}

#[derive(Serialize)]
struct Removed {
    name: String,
}

impl Report for Removed {
    fn text(&self, _style: Style) -> String {
        format!("Removed {}.\n", self.name)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Vec<Snapshot>);

impl Report for Listed {
    fn text(&self, _style: Style) -> String {
        if self.0.is_empty() {
            return "There is no snapshot yet. Take one with `edgectl sim snapshot NAME`.\n".to_owned();
        }
        let mut rows = vec![["NAME", "TAKEN", "BYTES"].map(str::to_owned).to_vec()];
        rows.extend(
            self.0.iter().map(|found| vec![found.name.clone(), found.taken_at.clone(), found.bytes.to_string()]),
        );
        columns(&rows)
    }
}

/// Takes a snapshot, or dispatches.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let snapshots = of_device(context)?;
    match (args.command, args.name) {
        (Some(Command::Restore(args)), _) => restore(&args, context),
        (Some(Command::List), _) => {
            context.printer.result(&Listed(snapshots.list().map_err(told)?));
            Ok(())
        }
        (Some(Command::Remove { name }), _) => {
            snapshots.remove(&name).map_err(told)?;
            context.printer.result(&Removed { name: name.to_string() });
            Ok(())
        }
        (None, Some(name)) => {
            let snapshot = snapshots.take(&name, args.force).map_err(told)?;
            let text = format!("Took {name}. To go back to it: edgectl sim restore {name}\n");
            context.printer.result(&Done { snapshot, text });
            Ok(())
        }
        (None, None) => Err(CommandError::usage("a snapshot needs a name")),
    }
}

/// Restores a snapshot.
pub fn restore(args: &RestoreArgs, context: &Context) -> Result<(), CommandError> {
    let snapshots = of_device(context)?;
    let snapshot = snapshots.restore(&args.name).map_err(told)?;
    let text = format!("The device is what it was at {}. Next: edgectl sim up\n", snapshot.taken_at);
    context.printer.result(&Done { snapshot, text });
    Ok(())
}

fn of_device(context: &Context) -> Result<Snapshots, CommandError> {
    let solution = context.solution()?;
    Ok(Snapshots::of(solution.device_state(), solution.device))
}

fn told(error: SnapshotError) -> CommandError {
    let message = error.to_string();
    let failed = CommandError::failed(&message);
    match error {
        SnapshotError::State(StateError::Running { .. }) => {
            failed.hint("Its state changes while it runs. Stop it first: `edgectl sim down`.")
        }
        SnapshotError::State(error) => device::state_error(error),
        SnapshotError::NoState => failed.hint("Run `edgectl sim up -d` to start it once."),
        SnapshotError::Exists(_) => failed.hint("Give another name, or --force to replace it."),
        SnapshotError::NotFound(_) => failed.hint("`edgectl sim snapshot list` shows those there are."),
        SnapshotError::Damaged { name, .. } => {
            failed.hint(format!("Remove it with `edgectl sim snapshot remove {name}`; the others can be used then."))
        }
        SnapshotError::Newer { .. } => failed.hint("Restore it with that version, or a later one."),
        SnapshotError::OtherDevice { of, .. } => {
            failed.hint(format!("Give the device its name again for it: `device: {of}` in edgectl.yaml."))
        }
        SnapshotError::Io { .. } => failed,
    }
}
