//! `edgectl validate`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::{Findings, Severity};
use edgectl_schemas::document::document::MAX_BYTES;
use edgectl_schemas::rules;

use crate::error::{CommandError, ErrorKind};
use crate::output::findings::{self, Form};
use crate::output::{diagnostics, file};
use crate::settings::Context;
use crate::solution::files::{Input, check_all, find};
use crate::solution::render::RenderOptions;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl validate                              everything in the solution
  edgectl validate deployment.template.json
  edgectl render -o - | edgectl validate -      standard input
  edgectl validate --format sarif . > edge.sarif
  edgectl explain EDGE0605                      the long story of a finding

Checks all that can be known before a deployment, without a network. Exit status 3 if there are errors.";

/// Check deployment manifests, templates and module files
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// Files and directories; `-` is standard input [default: the solution]
    paths: Vec<PathBuf>,
    /// The platform templates are rendered for [default: `DEFAULT_PLATFORM`, else amd64]
    #[arg(short = 'P', long)]
    platform: Option<String>,
    /// How findings are shown
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Accept breaches of this rule; may be given again
    #[arg(long, value_name = "CODE")]
    allow: Vec<String>,
    /// Take warnings for errors
    #[arg(long)]
    deny_warnings: bool,
    /// Mend what can be mended in one way alone
    #[arg(long)]
    fix: bool,
}

/// Checks, and shows what is wrong.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let mut allowed = args.allow.clone();
    if let Some(unknown) = allowed.iter().find(|code| rules::find(code).is_none()) {
        return Err(CommandError::usage(format!("there is no rule {unknown:?}"))
            .hint("`edgectl explain` lists the codes of all rules."));
    }
    if let Ok(solution) = Solution::find(&context.settings.directory) {
        allowed.extend(solution.allow);
    }
    let inputs = inputs(&args.paths, context)?;
    let options =
        RenderOptions { platform: args.platform.as_deref(), compat: false, environment: &context.settings.environment };
    let mut found = check_all(&inputs, options);
    if args.fix && mend(&found, &inputs, context)? {
        found = check_all(&inputs, options);
    }
    let is_allowed = |code: &str| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(code));
    for findings in &mut found {
        findings.diagnostics.retain(|found| !is_allowed(found.rule.code));
    }
    let form = if context.printer.json { Form::Json } else { args.format };
    let with_notes = context.settings.verbose > 0 || form != Form::Text;
    findings::show(&context.printer, &found, form, with_notes);
    let count = |severity| found.iter().map(|findings| findings.count(severity)).sum::<usize>();
    if count(Severity::Error) > 0 || (args.deny_warnings && count(Severity::Warning) > 0) {
        return Err(CommandError::shown(ErrorKind::Findings));
    }
    Ok(())
}

fn inputs(paths: &[PathBuf], context: &Context) -> Result<Vec<Input>, CommandError> {
    let directory = &context.settings.directory;
    if paths.is_empty() {
        let root = Solution::find(directory).map_or_else(|_| directory.clone(), |solution| solution.root);
        let found = find(&root, Path::new(""));
        return if found.is_empty() {
            Err(CommandError::usage(format!("there is nothing to check in {}", root.display()))
                .hint("Name a deployment manifest, or go into the directory of a solution."))
        } else {
            Ok(found)
        };
    }
    let mut inputs = Vec::new();
    for path in paths {
        let full = directory.join(path);
        if path.as_os_str() == "-" {
            inputs.push(standard_input(directory)?);
        } else if full.is_dir() {
            inputs.extend(find(&full, path));
        } else if full.exists() {
            inputs.push(Input { name: path.display().to_string(), path: full, text: None, named: true });
        } else {
            return Err(CommandError::usage(format!("{}: no such file or directory", path.display())));
        }
    }
    Ok(inputs)
}

fn standard_input(directory: &Path) -> Result<Input, CommandError> {
    let mut bytes = Vec::new();
    // One byte more than is taken, so that too much can be told from just enough.
    std::io::stdin()
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::failed(format!("standard input: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::new(ErrorKind::Findings, "standard input is not UTF-8 text"))?;
    Ok(Input { path: directory.join("-"), name: "-".to_owned(), text: Some(text), named: true })
}

/// Writes the files with their fixes; says whether anything was written.
fn mend(found: &[Findings], inputs: &[Input], context: &Context) -> Result<bool, CommandError> {
    let mut written = false;
    for findings in found {
        let Some(input) = inputs.iter().find(|input| input.name == findings.name && input.text.is_none()) else {
            continue;
        };
        let (text, count) = diagnostics::mended(findings);
        if count > 0 {
            file::write_atomically(&input.path, text.as_bytes())
                .map_err(|error| CommandError::failed(format!("{}: {error}", findings.name)))?;
            context.printer.note(&format!("{}: mended {count}", findings.name));
            written = true;
        }
    }
    Ok(written)
}
