//! `edgectl support-bundle`.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use edgectl_simulator::control::{self, ControlError, Next, Request};
use edgectl_simulator::state::StateDirectory;
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::device::{Signals, block_on, control_error};
use crate::commands::logs::time;
use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl support-bundle                         a file named after the device and the time
  edgectl support-bundle --since 1h -o /tmp/plant.zip
  edgectl support-bundle -o - | ssh host 'cat > plant.zip'";

/// Gather all that is known of the running device in one ZIP archive, without its secrets
#[derive(Debug, clap::Args)]
#[command(
    before_help = EXAMPLES,
    after_help = "The archive holds the device's state, checks, modules, twins, metrics and logs. Keys, tokens, connection \
                  strings and registry passwords are replaced by ***. Exit status 1 when no device is running, 2 when the \
                  file is there already."
)]
pub struct Args {
    /// Where to write it, `-` for standard output [default: `support_bundle_DEVICE_TIME.zip` in this directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// No lines of logs older than this: a time, as in 2026-01-31T08:00:00Z, or how long ago, as in 90s, 10m or 1d
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// No lines of logs newer than this: likewise
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Nothing of the modules of the solution
    #[arg(short, long)]
    edge_runtime_only: bool,
    /// Write over a file that is there already
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
}

impl Report for Written {
    fn text(&self, _style: Style) -> String {
        format!("Wrote {} ({} bytes). Look through it before you hand it on.\n", self.file.display(), self.bytes)
    }
}

/// Asks the running device, and writes what it gives.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let is_printed = args.output.as_deref() == Some(Path::new("-"));
    let name = || {
        let now = Timestamp::now().strftime("%Y-%m-%d_%H-%M-%S");
        PathBuf::from(format!("support_bundle_{}_{now}.zip", solution.device))
    };
    let file = context.settings.directory.join(args.output.clone().unwrap_or_else(name));
    // Told before anything is gathered; the writing looks again.
    if !is_printed && !args.force && file.symlink_metadata().is_ok() {
        return Err(is_there(&file));
    }
    let state = solution.device_state();
    let bytes = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            bytes = gather(&args, &state) => bytes.map_err(control_error),
            signal = signals.next() => Err(signal),
        }
    })??;
    if is_printed {
        context.printer.raw(&bytes);
        return Ok(());
    }
    write(&file, &bytes, args.force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => is_there(&file),
        _ => CommandError::failed(format!("{}: {error}", file.display())),
    })?;
    context.printer.result(&Written { file, bytes: bytes.len() });
    Ok(())
}

async fn gather(args: &Args, state: &StateDirectory) -> Result<Vec<u8>, ControlError> {
    let Args { since, until, edge_runtime_only: is_runtime_only, .. } = *args;
    let request = Request::SupportBundle { since, until, is_runtime_only };
    let mut conversation = control::ask(&state.control_socket(), &request).await?;
    let mut bytes = Vec::new();
    while let Next::Item(part) = conversation.next().await? {
        let part = BASE64.decode(part.as_str().unwrap_or_default());
        bytes.extend(part.map_err(|error| ControlError::Failed(format!("a bundle that is none: {error}")))?);
    }
    Ok(bytes)
}

/// Writes a file for the user alone, whole or not at all.
fn write(file: &Path, bytes: &[u8], may_replace: bool) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let partial = file.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut part| part.write_all(bytes).and_then(|()| part.sync_data()));
    let done = match written {
        Ok(()) if may_replace => std::fs::rename(&partial, file),
        // Unlike a new name, a second one never takes the place of what is there.
        Ok(()) => std::fs::hard_link(&partial, file),
        Err(error) => Err(error),
    };
    // Gone already where it got its name; the first failure is the one to report.
    let _ = std::fs::remove_file(&partial);
    done
}

fn is_there(file: &Path) -> CommandError {
    CommandError::usage(format!("{} is there already", file.display())).hint("Give another name, or --force.")
}
