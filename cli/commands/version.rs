//! `edgectl version`.

use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;

/// Show the version of edgectl
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

impl Report for Version {
    fn text(&self, _style: Style) -> String {
        format!("edgectl {}\n", self.version)
    }
}

/// Prints the version.
#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub fn run(_args: Args, context: &Context) -> Result<(), CommandError> {
    context.printer.result(&Version { version: env!("CARGO_PKG_VERSION") });
    Ok(())
}
