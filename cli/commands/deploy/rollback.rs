//! `edgectl deploy rollback`.

use std::time::Duration;

use super::command::Deployed;
use super::place::Place;
use crate::commands::device::{Signals, block_on};
use crate::error::CommandError;
use crate::settings::Context;
use crate::solution::manifest::Manifest;

/// Deploy again what was deployed before
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Deployments made by this solution are remembered, the last ten of each device. The device may have been changed by others \
meanwhile; that is replaced too. A configuration is taken back with `edgectl configuration remove NAME`: its devices then get \
the next one that is for them.")]
pub struct Args {
    /// The device of a target of the solution file, and not the simulated one
    #[arg(long, value_name = "TARGET")]
    to: Option<String>,
    /// Seconds to wait until the modules run
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    /// Do not wait until the modules run
    #[arg(long)]
    no_wait: bool,
}

/// Applies the last but one, which then is the last.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = context.solution()?;
    let place = Place::find(args.to.as_deref(), &solution, context)?;
    let all = place.history.all()?;
    let [earlier @ .., before, last] = &all[..] else {
        let what = match all.last() {
            None => "nothing was deployed from here yet".to_owned(),
            Some(last) => format!("nothing was deployed before {} of {}", last.manifest, last.at),
        };
        return Err(CommandError::failed(what).hint("Deploy an earlier manifest with `edgectl deploy -f FILE`."));
    };
    let note = format!("Going back from {} of {} to {} of {}.", last.manifest, last.at, before.manifest, before.at);
    context.printer.note(&note);
    let manifest = Manifest { name: before.manifest.clone(), modules_content: before.modules_content.clone() };
    let timeout = (!args.no_wait).then(|| Duration::from_secs(args.timeout));
    let kept: Vec<_> = earlier.iter().chain([before]).cloned().collect();
    let deployed = block_on(async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            deployed = place.deploy(&solution, &manifest, timeout) => deployed,
            signal = signals.next() => Err(signal),
        }
    })?;
    // The hub has it, whether its modules run or not.
    if place.history.all()?.last().is_some_and(|last| last.modules_content == before.modules_content) {
        place.history.write(&kept)?;
    }
    context.printer.result(&Deployed { manifest: manifest.name, modules: deployed? });
    Ok(())
}
