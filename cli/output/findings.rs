//! Findings as a result, in the form somebody wants: for people, for programs, for code hosts and for CI.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use edgectl_schemas::diagnostic::{Diagnostic, Findings, Severity};
use edgectl_schemas::rules;
use serde_json::{Value, json};

use super::diagnostics::{self, position};
use super::printer::Printer;

/// How findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// One document with all findings
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Commands of a GitHub workflow, which annotate the change
    Github,
    /// `JUnit`, for the test report of a CI
    Junit,
}

/// Shows findings on standard output.
pub fn show(printer: &Printer, findings: &[Findings], form: Form, with_notes: bool) {
    let text = match form {
        Form::Text => text(printer, findings, with_notes),
        Form::Json => pretty(&json_document(findings)),
        Form::Sarif => pretty(&sarif(findings)),
        Form::Github => github(findings),
        Form::Junit => junit(findings),
    };
    printer.raw(text.as_bytes());
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn each(findings: &[Findings]) -> impl Iterator<Item = (&Findings, &Diagnostic)> {
    findings.iter().flat_map(|file| file.diagnostics.iter().map(move |found| (file, found)))
}

fn count(findings: &[Findings], severity: Severity) -> usize {
    findings.iter().map(|file| file.count(severity)).sum()
}

fn text(printer: &Printer, findings: &[Findings], with_notes: bool) -> String {
    let mut out = String::new();
    for (file, found) in each(findings) {
        if with_notes || found.rule.severity != Severity::Note {
            let _ = writeln!(out, "{}\n", diagnostics::text(file, found, printer.out));
        }
    }
    let plural = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let (errors, warnings) = (count(findings, Severity::Error), count(findings, Severity::Warning));
    let notes = count(findings, Severity::Note);
    let mut summary =
        format!("{}, {} in {}", plural(errors, "error"), plural(warnings, "warning"), plural(findings.len(), "file"));
    if notes > 0 && !with_notes {
        let _ = write!(summary, " ({} with -v)", plural(notes, "note"));
    }
    let styled = match (errors, warnings) {
        (0, 0) => printer.out.green(&summary),
        (0, _) => printer.out.yellow(&summary),
        _ => printer.out.red(&summary),
    };
    out + &styled + "\n"
}

fn json_document(findings: &[Findings]) -> Value {
    json!({
        "files": findings.iter().map(|file| &file.name).collect::<Vec<_>>(),
        "errors": count(findings, Severity::Error),
        "warnings": count(findings, Severity::Warning),
        "notes": count(findings, Severity::Note),
        "diagnostics": diagnostics::json(findings),
    })
}

fn sarif(findings: &[Findings]) -> Value {
    let used: BTreeSet<&str> = each(findings).map(|(_, found)| found.rule.code).collect();
    let rules: Vec<Value> = rules::ALL
        .iter()
        .filter(|rule| used.contains(rule.code))
        .map(|rule| {
            json!({
                "id": rule.code,
                "shortDescription": { "text": rule.title },
                "fullDescription": { "text": rule.explanation },
                "defaultConfiguration": { "level": rule.severity.word() },
            })
        })
        .collect();
    let results: Vec<Value> = each(findings).map(|(file, found)| sarif_result(file, found)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "edgectl", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn sarif_result(file: &Findings, found: &Diagnostic) -> Value {
    let region = |start: usize, end: usize| {
        let (line, column) = position(&file.source, start);
        let (end_line, end_column) = position(&file.source, end);
        json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
    };
    let location = |start: usize, end: usize| json!({ "artifactLocation": { "uri": file.name.replace('\\', "/") }, "region": region(start, end) });
    let message = match &found.help {
        Some(help) => format!("{}. {help}", found.message),
        None => found.message.clone(),
    };
    let mut result = json!({
        "ruleId": found.rule.code,
        "level": found.rule.severity.word(),
        "message": { "text": message },
        "locations": [{
            "physicalLocation": location(found.span.start, found.span.end),
            "logicalLocations": [{ "fullyQualifiedName": found.path }],
        }],
    });
    if !found.related.is_empty() {
        let related = found.related.iter().map(|related| {
            json!({
                "physicalLocation": location(related.span.start, related.span.end),
                "message": { "text": related.message },
            })
        });
        result["relatedLocations"] = related.collect();
    }
    if let Some(fix) = &found.fix {
        result["fixes"] = json!([{ "artifactChanges": [{
            "artifactLocation": { "uri": file.name.replace('\\', "/") },
            "replacements": [{
                "deletedRegion": region(fix.span.start, fix.span.end),
                "insertedContent": { "text": fix.replacement },
            }],
        }]}]);
    }
    result
}

fn github(findings: &[Findings]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for (file, found) in each(findings) {
        let command = match found.rule.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let (line, column) = position(&file.source, found.span.start);
        let (end_line, end_column) = position(&file.source, found.span.end);
        let help = found.help.as_deref().map(|help| format!("\n{help}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "::{command} file={},line={line},col={column},endLine={end_line},endColumn={end_column},title={}::{}",
            property(&file.name),
            found.rule.code,
            data(&format!("{}{help}", found.message)),
        );
    }
    out
}

fn junit(findings: &[Findings]) -> String {
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        // XML 1.0 has no place for other control characters.
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect::<String>()
    };
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"edgectl validate\">\n".to_owned();
    for file in findings {
        let failures = file.count(Severity::Error);
        let cases = file.diagnostics.len().max(1);
        let name = escape(&file.name);
        let _ = writeln!(out, "  <testsuite name=\"{name}\" tests=\"{cases}\" failures=\"{failures}\">");
        if file.diagnostics.is_empty() {
            let _ = writeln!(out, "    <testcase classname=\"{name}\" name=\"valid\"/>");
        }
        for found in &file.diagnostics {
            let (line, column) = position(&file.source, found.span.start);
            let title = escape(&format!("{} {line}:{column} {}", found.rule.code, found.message));
            let detail = escape(&format!("{}:{line}:{column}: {}\n{}", file.name, found.message, found.path));
            let body = match found.rule.severity {
                Severity::Error => {
                    format!("<failure type=\"{}\" message=\"{title}\">{detail}</failure>", found.rule.code)
                }
                _ => format!("<system-out>{detail}</system-out>"),
            };
            let _ = writeln!(out, "    <testcase classname=\"{name}\" name=\"{title}\">{body}</testcase>");
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}
