//! `edgectl explain`.

use edgectl_schemas::diagnostic::{Rule, Severity, did_you_mean};
use edgectl_schemas::rules;
use serde::Serialize;

use crate::error::CommandError;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::output::table::columns;
use crate::settings::Context;

const EXAMPLES: &str = "\
Examples:
  edgectl explain EDGE0605
  edgectl explain            all rules";

/// Tell the long story of a finding
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The code of a rule; all rules where absent
    code: Option<String>,
}

#[derive(Serialize)]
struct Explained {
    code: &'static str,
    severity: Severity,
    title: &'static str,
    explanation: &'static str,
}

impl From<&'static Rule> for Explained {
    fn from(rule: &'static Rule) -> Self {
        Self { code: rule.code, severity: rule.severity, title: rule.title, explanation: rule.explanation }
    }
}

impl Report for Explained {
    fn text(&self, style: Style) -> String {
        let heading = style.bold(&format!("{}: {}", self.code, self.title));
        format!("{heading} ({})\n\n{}\n", self.severity.word(), self.explanation)
    }
}

#[derive(Serialize)]
struct List {
    rules: Vec<Explained>,
}

impl Report for List {
    fn text(&self, _style: Style) -> String {
        let heading = ["CODE", "SEVERITY", "WHAT"].map(str::to_owned).to_vec();
        let rows =
            self.rules.iter().map(|rule| [rule.code, rule.severity.word(), rule.title].map(str::to_owned).to_vec());
        columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
    }
}

/// Prints a rule, or all.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let Some(code) = args.code else {
        context.printer.result(&List { rules: rules::ALL.iter().map(|rule| Explained::from(*rule)).collect() });
        return Ok(());
    };
    match rules::find(&code) {
        Some(rule) => {
            context.printer.result(&Explained::from(rule));
            Ok(())
        }
        None => {
            let error = CommandError::usage(format!("there is no rule {code:?}"));
            Err(match did_you_mean(&code, rules::ALL.iter().map(|rule| rule.code)) {
                Some(meant) => error.hint(format!("Did you mean `{meant}`? `edgectl explain` lists all.")),
                None => error.hint("`edgectl explain` lists all."),
            })
        }
    }
}
