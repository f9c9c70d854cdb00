//! The solution's documents: its file, its template, and the manifest that comes of it.

use std::collections::BTreeSet;

use edgectl_schemas::diagnostic::{Rule, Severity};
use edgectl_schemas::rules;

use super::check::{Check, Finding, Scope, listed};
use super::patient::Patient;
use crate::solution::solution::SOLUTION_FILE;

/// Rules whose breaches have checks of their own.
const ELSEWHERE: [&Rule; 6] = [
    &rules::UNDEFINED_VARIABLE,
    &rules::UNKNOWN_PLACEHOLDER,
    &rules::NO_MODULE_FILE,
    &rules::INVALID_MODULE_FILE,
    &rules::NO_DOCKERFILE,
    &rules::INVALID_SOLUTION_FILE,
];

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC501", title: "edgectl.yaml is valid", scope: Scope::Solution, examine: file },
    Check { code: "DOC502", title: "the deployment template is there", scope: Scope::Solution, examine: template },
    Check { code: "DOC503", title: "the manifest is valid", scope: Scope::Solution, examine: manifest },
    Check { code: "DOC504", title: "variables of the template are set", scope: Scope::Solution, examine: variables },
];

/// Why nothing can be said of the documents of a solution whose file cannot be read.
pub const NO_SOLUTION: &str = "edgectl.yaml cannot be read";

fn file(patient: &Patient<'_>) -> Finding {
    if let Some(error) = &patient.solution_error {
        return Finding::error(error.clone())
            .cause("No command works in this solution.")
            .mend(format!("edgectl validate {SOLUTION_FILE}, and mend what it shows"));
    }
    match patient.findings_of(&[&rules::INVALID_SOLUTION_FILE]).first() {
        Some(wrong) => Finding::error(wrong.message.clone()).mend(format!("edgectl validate {SOLUTION_FILE}")),
        None if patient.root.as_ref().is_some_and(|root| root.join(SOLUTION_FILE).is_file()) => {
            Finding::ok(SOLUTION_FILE)
        }
        None => Finding::ok("there is none, and none is needed"),
    }
}

fn template(patient: &Patient<'_>) -> Finding {
    let Some(solution) = &patient.solution else { return Finding::skipped(NO_SOLUTION) };
    match patient.template() {
        Some(Err(error)) => {
            let finding = Finding::error(error.to_string()).cause("There is nothing to build and nothing to deploy.");
            if solution.template.exists() {
                finding.mend("edgectl validate")
            } else {
                finding.mend("edgectl new NAME makes one; `template` of edgectl.yaml names another")
            }
        }
        _ => Finding::ok(solution.template.file_name().unwrap_or_default().to_string_lossy()),
    }
}

fn manifest(patient: &Patient<'_>) -> Finding {
    if patient.solution.is_none() {
        return Finding::skipped(NO_SOLUTION);
    }
    let is_ours = |rule: &Rule| ELSEWHERE.iter().all(|other| other.code != rule.code);
    let all: Vec<_> = patient.findings().iter().flat_map(|file| &file.diagnostics).collect();
    let count = |severity| all.iter().filter(|found| found.rule.severity == severity && is_ours(found.rule)).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let first = all.iter().find(|found| found.rule.severity == Severity::Error && is_ours(found.rule));
    match (first, warnings) {
        (Some(first), _) => Finding::error(format!("errors: {errors}; {}: {}", first.rule.code, first.message))
            .cause("`edgectl deploy` refuses it.")
            .mend("edgectl validate"),
        (None, 0) => Finding::ok("without errors and warnings"),
        (None, warnings) => Finding::note(format!("warnings: {warnings}")).mend("edgectl validate"),
    }
}

fn variables(patient: &Patient<'_>) -> Finding {
    if patient.solution.is_none() {
        return Finding::skipped(NO_SOLUTION);
    }
    let found = patient.findings_of(&[&rules::UNDEFINED_VARIABLE]);
    let name = |message: &str| message.split('`').nth(1).map(str::to_owned);
    let names: BTreeSet<String> = found.iter().filter_map(|found| name(&found.message)).collect();
    // Repositories are put into lower case, with the variables in them.
    let is_twin = |name: &&String| **name == name.to_lowercase() && names.contains(&name.to_uppercase());
    let names: Vec<String> = names.iter().filter(|name| !is_twin(name)).cloned().collect();
    if names.is_empty() {
        return Finding::ok("all are set");
    }
    let lines: Vec<String> = names.iter().map(|name| format!("{name}=…")).collect();
    Finding::error(format!("not set: {}", listed(&names)))
        .cause("The placeholder itself would be deployed; `edgectl deploy` refuses that.")
        .mend(format!("add to .env: {}", lines.join(" ")))
}
