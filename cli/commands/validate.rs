//! `edgectl validate`.

use edgectl_schemas::diagnostic::{Findings, Severity};
use serde::Serialize;
use serde_json::Value;

use crate::error::{CommandError, ErrorKind};
use crate::output::diagnostics;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::check;
use crate::solution::render::RenderOptions;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl validate                              the solution's template, and what it names
  edgectl validate deployment.gpu.template.json another template
  edgectl validate config/deployment.amd64.json a manifest
  az … | edgectl validate -                     from standard input";

/// Check templates and manifests for what a device would refuse or misread
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = "Exit status 3 when there are errors; warnings alone leave it 0.")]
pub struct Args {
    /// Templates or manifests; the solution's template where none is named
    files: Vec<String>,
    /// The platform whose images are checked [default: `DEFAULT_PLATFORM`, else amd64]
    #[arg(short = 'P', long)]
    platform: Option<String>,
}

#[derive(Serialize)]
struct Checked {
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Value>,
}

impl Report for Checked {
    fn text(&self, _style: Style) -> String {
        match (self.errors, self.warnings) {
            (0, 0) => "No errors, no warnings.\n".to_owned(),
            (errors, warnings) => format!("{} and {}.\n", counted(errors, "error"), counted(warnings, "warning")),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Checks, and shows what was found.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let directory = &context.settings.directory;
    let options =
        RenderOptions { platform: args.platform.as_deref(), compat: false, environment: &context.settings.environment };
    let mut findings: Vec<Findings> = Vec::new();
    if args.files.is_empty() {
        findings.extend(check::template(&Solution::find(directory)?, options)?);
    }
    for file in &args.files {
        findings.extend(if file.contains(".template.") {
            check::template(&Solution::of_template(directory, file.as_ref())?, options)?
        } else {
            check::manifest(file, directory)?
        });
    }
    let count = |severity| findings.iter().map(|file| file.count(severity)).sum();
    let checked = Checked {
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        diagnostics: diagnostics::json(&findings),
    };
    if !context.printer.json {
        diagnostics::show(&context.printer, &findings);
    }
    context.printer.result(&checked);
    if checked.errors == 0 { Ok(()) } else { Err(CommandError::shown(ErrorKind::Findings)) }
}
