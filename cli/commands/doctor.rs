//! `edgectl doctor`.

use std::path::PathBuf;

use edgectl_schemas::diagnostic::did_you_mean;
use serde::Serialize;

use crate::doctor::catalog;
use crate::doctor::check::{Check, Scope, Verdict};
use crate::doctor::examination::{Outcome, examine, mend};
use crate::doctor::patient::Patient;
use crate::error::{CommandError, ErrorKind};
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl doctor                     the machine, and the solution if there is one here
  edgectl doctor --fix               and mend what can be mended without risk
  edgectl doctor DOC204 DOC6         one check, and all whose code begins so
  edgectl doctor --list              what is examined";

/// Examine the machine and the solution, and say what mends what is wrong
#[derive(Debug, clap::Args)]
#[command(
    before_help = EXAMPLES,
    after_help = "Uses no network, and asks nothing. Exit status 0 without errors, whatever else is found; 3 with errors."
)]
pub struct Args {
    /// Codes, or beginnings of codes, of checks [default: all]
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// Mend what can be mended without risk, and look again
    #[arg(long)]
    fix: bool,
    /// List the checks, and examine nothing
    #[arg(long, conflicts_with = "fix")]
    list: bool,
}

#[derive(Serialize)]
struct Listed {
    code: &'static str,
    subject: &'static str,
    scope: Scope,
    title: &'static str,
}

#[derive(Serialize)]
struct List {
    checks: Vec<Listed>,
}

impl Report for List {
    fn text(&self, _style: Style) -> String {
        let heading = ["CODE", "SUBJECT", "SCOPE", "WHAT"].map(str::to_owned).to_vec();
        let row =
            |check: &Listed| [check.code, check.subject, check.scope.word(), check.title].map(str::to_owned).to_vec();
        columns(&std::iter::once(heading).chain(self.checks.iter().map(row)).collect::<Vec<_>>())
    }
}

/// What was examined, and what was found.
#[derive(Serialize)]
struct Examined {
    /// The solution's root; none where the machine alone was examined.
    solution: Option<PathBuf>,
    errors: usize,
    warnings: usize,
    notes: usize,
    checks: Vec<Checked>,
    /// Whether checks without a meaning here are shown too.
    #[serde(skip)]
    with_skipped: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    code: &'static str,
    title: &'static str,
    subject: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
    /// Whether `--fix` can mend it.
    fixable: bool,
    /// What was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mended: Option<String>,
    /// Why it could not be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_mended: Option<String>,
}

impl From<Outcome> for Checked {
    fn from(outcome: Outcome) -> Self {
        let Outcome { check, finding, mended } = outcome;
        let (mended, not_mended) = match mended {
            None => (None, None),
            Some(Ok(done)) => (Some(done), None),
            Some(Err(error)) => (None, Some(error)),
        };
        Self {
            code: check.code,
            title: check.title,
            subject: catalog::subject(check),
            verdict: finding.verdict,
            found: finding.found,
            cause: finding.cause,
            mend: finding.mend,
            fixable: finding.fix.is_some(),
            mended,
            not_mended,
        }
    }
}

impl Report for Examined {
    fn text(&self, style: Style) -> String {
        let mut text = match &self.solution {
            Some(root) => format!("Solution {}\n", root.display()),
            None => "No solution here: the machine alone is examined.\n".to_owned(),
        };
        let mut subject = "";
        for check in self.checks.iter().filter(|check| self.with_skipped || check.verdict != Verdict::Skipped) {
            if check.subject != subject {
                subject = check.subject;
                text.push_str(&format!("\n{}\n", style.bold(subject)));
            }
            text.push_str(&check.text(style));
        }
        text + "\n" + &self.summary(style)
    }
}

impl Checked {
    fn text(&self, style: Style) -> String {
        let word = format!("{:<7}", self.verdict.word());
        let word = match self.verdict {
            Verdict::Ok => style.green(&word),
            Verdict::Skipped | Verdict::Note => style.dim(&word),
            Verdict::Warning => style.yellow(&word),
            Verdict::Error => style.red(&word),
        };
        let mut text = format!("  {word}  {}  {}: {}\n", self.code, self.title, self.found);
        let mut line = |name: &str, value: &Option<String>, paint: fn(Style, &str) -> String| {
            if let Some(value) = value {
                text.push_str(&format!("                   {name} {}\n", paint(style, value)));
            }
        };
        line("mended:", &self.mended, Style::green);
        line("not mended:", &self.not_mended, Style::red);
        line("why:", &self.cause, |_, text| text.to_owned());
        line("mend:", &self.mend, Style::cyan);
        text
    }
}

impl Examined {
    fn summary(&self, style: Style) -> String {
        let plural = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        let counts = [plural(self.errors, "error"), plural(self.warnings, "warning"), plural(self.notes, "note")];
        let counted = format!("{} in {}", counts.join(", "), plural(self.checks.len(), "check"));
        let counted = match (self.errors, self.warnings) {
            (0, 0) => style.green(&counted),
            (0, _) => style.yellow(&counted),
            _ => style.red(&counted),
        };
        let fixable = self.checks.iter().filter(|check| check.fixable).count();
        let hint = match fixable {
            0 => String::new(),
            number => format!("; {} can be mended by {}", number, style.cyan("edgectl doctor --fix")),
        };
        format!("{counted}{hint}\n")
    }
}

/// Examines, mends if that is wanted, and shows what was found.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let checks = selected(&args.codes)?;
    if args.list {
        let listed = |check: &'static Check| Listed {
            code: check.code,
            subject: catalog::subject(check),
            scope: check.scope,
            title: check.title,
        };
        context.printer.result(&List { checks: checks.into_iter().map(listed).collect() });
        return Ok(());
    }
    let root = Solution::root_of(&context.settings.directory).map(std::path::Path::to_owned);
    let solution = root.as_ref().map(|_| context.solution().map_err(|error| error.to_string()));
    let patient = Patient::new(&context.settings, root.clone(), solution);
    let mut outcomes = examine(&checks, &patient);
    if args.fix {
        mend(&mut outcomes, &patient);
    }
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.finding.verdict == verdict).count();
    let (errors, warnings, notes) = (count(Verdict::Error), count(Verdict::Warning), count(Verdict::Note));
    let checks = outcomes.into_iter().map(Checked::from).collect();
    let with_skipped = context.settings.verbose > 0 || !args.codes.is_empty();
    context.printer.result(&Examined { solution: root, errors, warnings, notes, checks, with_skipped });
    if errors > 0 { Err(CommandError::shown(ErrorKind::Findings)) } else { Ok(()) }
}

/// The checks that codes, or their beginnings, name.
fn selected(codes: &[String]) -> Result<Vec<&'static Check>, CommandError> {
    let all = catalog::all();
    if codes.is_empty() {
        return Ok(all);
    }
    let names = |code: &str, check: &Check| check.code.starts_with(&code.to_ascii_uppercase());
    if let Some(unknown) = codes.iter().find(|code| code.is_empty() || !all.iter().any(|check| names(code, check))) {
        let error = CommandError::usage(format!("there is no check {unknown:?}"));
        return Err(match did_you_mean(unknown, all.iter().map(|check| check.code)) {
            Some(meant) => error.hint(format!("Did you mean `{meant}`? `edgectl doctor --list` lists all.")),
            None => error.hint("`edgectl doctor --list` lists all."),
        });
    }
    Ok(all.into_iter().filter(|check| codes.iter().any(|code| names(code, check))).collect())
}
