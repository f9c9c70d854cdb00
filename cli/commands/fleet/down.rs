//! `edgectl fleet down`.

use edgectl_simulator::fleet::shards::swarm::Swarm;

use super::command::solution;
use crate::commands::device::block_on;
use crate::commands::sim::down::{self, Subject};
use crate::error::CommandError;
use crate::image::engine::load::engine_error;
use crate::settings::Context;

/// Stop the fleet. Its cloud hub's registry and configurations stay
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Stops it. That none runs is no error: what was asked for is so.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = solution(context)?;
    let state = solution.device_state();
    down::stop(&solution, Subject::Fleet, context)?;
    // One that was killed could not remove its shards.
    let swept = block_on(Swarm::sweep(&state))?;
    if swept.map_err(|error| engine_error(error).hint("Shards of this fleet may be left in its swarm."))? {
        context.printer.note("what the fleet had left in the swarm is removed");
    }
    Ok(())
}
