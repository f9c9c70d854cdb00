//! `edgectl fleet down`.

use super::command::solution;
use crate::commands::sim::down::{self, Subject};
use crate::error::CommandError;
use crate::settings::Context;

/// Stop the fleet. Its cloud hub's registry and configurations stay
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Stops it. That none runs is no error: what was asked for is so.
pub fn run(_args: &Args, context: &Context) -> Result<(), CommandError> {
    down::stop(&solution(context)?, Subject::Fleet, context)
}
