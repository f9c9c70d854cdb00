//! Finding out what is wrong with the documents of a solution before a device does.

use std::io::Read as _;
use std::path::Path;

use edgectl_schemas::diagnostic::{Findings, Severity};
use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::checks::run::{Purpose, check, diagnostics};

use super::endpoints;
use super::render::Template;
use crate::error::{CommandError, ErrorKind};
use crate::output;
use crate::settings::Context;

/// What is wrong with a template that was read: what expanding it found, and what its content breaks.
pub fn findings(template: &Template) -> Vec<Findings> {
    let mut findings = template.findings.clone();
    let mut content = diagnostics(&template.document, Purpose::Template);
    content.extend(endpoints::unknown(&template.document, &template.images));
    let content = Findings::of(&template.document, content);
    match findings.iter_mut().find(|file| file.name == content.name) {
        Some(own) => {
            own.diagnostics.extend(content.diagnostics);
            own.diagnostics.sort_by_key(|found| (found.span, found.rule.code));
        }
        None => findings.insert(0, content),
    }
    findings.retain(|file| !file.diagnostics.is_empty());
    findings
}

/// What is wrong with a manifest; `-` is standard input.
pub fn manifest(name: &str, directory: &Path) -> Result<Vec<Findings>, CommandError> {
    let source = read(name, directory)?;
    let format = Format::of_name(name).unwrap_or_else(|| Format::of_text(&source));
    let found = match Document::parse(name, source.clone(), format) {
        Ok(document) => check(&document, Purpose::Manifest),
        Err(error) => Findings::unreadable(name, source, &error, format),
    };
    Ok(if found.diagnostics.is_empty() { Vec::new() } else { vec![found] })
}

fn read(name: &str, directory: &Path) -> Result<String, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::usage(format!("{name}: {error}")).hint("Give the path of a manifest or a template, or `-`.")
    };
    if name == "-" {
        let mut text = String::new();
        return std::io::stdin().lock().read_to_string(&mut text).map(|_| text).map_err(failed);
    }
    std::fs::read_to_string(directory.join(name)).map_err(failed)
}

/// Shows findings; any error among them ends the command.
pub fn refuse_errors(findings: &[Findings], context: &Context) -> Result<(), CommandError> {
    if !context.printer.json {
        output::diagnostics::show(&context.printer, findings);
    }
    let mut wrong = findings.iter().map(|file| (file, file.count(Severity::Error))).filter(|(_, errors)| *errors > 0);
    let Some((file, first)) = wrong.next() else { return Ok(()) };
    let errors = first + wrong.map(|(_, errors)| errors).sum::<usize>();
    let counted = if errors == 1 { "an error".to_owned() } else { format!("{errors} errors") };
    let error = CommandError::new(ErrorKind::Findings, format!("{} has {counted}", file.name));
    Err(error.details(output::diagnostics::json(findings).into()))
}
