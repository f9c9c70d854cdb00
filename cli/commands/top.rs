//! `edgectl top`.

use std::io::IsTerminal as _;

use crate::commands::device::{Signals, block_on};
use crate::error::CommandError;
use crate::screen::state::View;
use crate::screen::{once, session};
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl top                       q leaves, Tab goes round the views
  edgectl top --view logs
  edgectl top --once --view queues  one frame as text, for scripts and reports";

/// What the frame of `--once` is drawn on: columns and rows.
const FRAME: (u16, u16) = (100, 30);

/// Watch the running device on a whole terminal: modules, routes, queues, twins, logs, network
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 1 when no device is running, or when it ends.")]
pub struct Args {
    /// What to show first
    #[arg(long, value_enum, default_value_t)]
    view: View,
    /// Print one frame as text and end
    #[arg(long)]
    once: bool,
}

/// Shows the device until somebody leaves the screen.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let instead = "Use `edgectl status`, `edgectl status --json`, or `edgectl top --once` for one frame as text.";
    if context.printer.json {
        return Err(CommandError::usage("a screen has no form in JSON").hint(instead));
    }
    let solution = context.solution()?;
    if args.once {
        let frame = block_on(async {
            let mut signals = Signals::listen()?;
            tokio::select! {
                frame = once::frame(&solution, args.view, FRAME) => frame,
                signal = signals.next() => Err(signal),
            }
        })??;
        context.printer.raw(frame.as_bytes());
        return Ok(());
    }
    if !(context.settings.interactive && std::io::stdout().is_terminal()) {
        return Err(CommandError::usage("this is no terminal to show a screen on").hint(instead));
    }
    block_on(session::run(&solution, args.view, context.printer.out.color))?
}
