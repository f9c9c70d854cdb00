//! Shows what is wrong with documents: in the text itself, or as data.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use edgectl_schemas::diagnostic::{Diagnostic, Findings, Severity};
use serde_json::{Value, json};

use super::printer::Printer;
use super::style::Style;

/// Shows findings on standard error, all but notes.
pub fn show(printer: &Printer, findings: &[Findings]) {
    for file in findings {
        for found in file.diagnostics.iter().filter(|found| found.rule.severity != Severity::Note) {
            printer.trouble(&text(file, found, printer.err));
        }
    }
}

/// One finding, with the place underlined in its text.
pub fn text(file: &Findings, found: &Diagnostic, style: Style) -> String {
    let level = match found.rule.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let (line, excerpt, offset) = excerpt(&file.source, found);
    let place = |span: edgectl_schemas::document::node::Span| {
        let start = span.start.saturating_sub(offset).min(excerpt.len());
        start..span.end.saturating_sub(offset).clamp(start, excerpt.len())
    };
    let mut primary = AnnotationKind::Primary.span(place(found.span));
    if let Some(label) = &found.label {
        primary = primary.label(label.as_str());
    }
    let mut snippet = Snippet::source(excerpt).path(file.name.as_str()).line_start(line).annotation(primary);
    for related in &found.related {
        snippet = snippet.annotation(AnnotationKind::Context.span(place(related.span)).label(related.message.as_str()));
    }
    let mut group: Group<'_> = level.primary_title(found.message.as_str()).id(found.rule.code).element(snippet);
    if !found.path.is_empty() {
        group = group.element(Level::NOTE.with_name("at").message(found.path.as_str()));
    }
    if let Some(help) = &found.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if style.color { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// The lines that matter, so that a large file is not walked for each finding: number of the first, text, its place.
fn excerpt<'a>(source: &'a str, found: &Diagnostic) -> (usize, &'a str, usize) {
    let spans = || std::iter::once(found.span).chain(found.related.iter().map(|related| related.span));
    let first = spans().map(|span| span.start).min().unwrap_or(0);
    let last = spans().map(|span| span.end.max(span.start)).max().unwrap_or(0).min(source.len());
    let start = source[..floor(source, first)].rfind('\n').map_or(0, |end| end + 1);
    let last = floor(source, last);
    let end = source[last..].find('\n').map_or(source.len(), |end| last + end);
    let line = source[..start].matches('\n').count() + 1;
    (line, &source[start..end.max(start)], start)
}

fn floor(source: &str, offset: usize) -> usize {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// The line and column of a place, counted from one, columns in characters.
pub fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..floor(source, offset)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The file's text with every fix that meets no other, and how many those are.
pub fn mended(findings: &Findings) -> (String, usize) {
    let mut fixes: Vec<_> = findings.diagnostics.iter().filter_map(|found| found.fix.as_ref()).collect();
    fixes.sort_by_key(|fix| fix.span);
    let (mut text, mut copied, mut count) = (String::new(), 0, 0);
    for fix in fixes {
        if fix.span.start >= copied && fix.span.end <= findings.source.len() {
            text.push_str(&findings.source[copied..fix.span.start]);
            text.push_str(&fix.replacement);
            copied = fix.span.end;
            count += 1;
        }
    }
    text.push_str(&findings.source[copied..]);
    (text, count)
}

/// Findings as data.
pub fn json(findings: &[Findings]) -> Vec<Value> {
    findings.iter().flat_map(|file| file.diagnostics.iter().map(move |found| json_of(file, found))).collect()
}

fn json_of(file: &Findings, found: &Diagnostic) -> Value {
    let (line, column) = position(&file.source, found.span.start);
    let (end_line, end_column) = position(&file.source, found.span.end);
    let mut value = json!({
        "code": found.rule.code,
        "severity": found.rule.severity,
        "message": found.message,
        "file": file.name,
        "line": line,
        "column": column,
        "endLine": end_line,
        "endColumn": end_column,
        "path": found.path,
    });
    if let Some(label) = &found.label {
        value["label"] = json!(label);
    }
    if let Some(help) = &found.help {
        value["help"] = json!(help);
    }
    if !found.related.is_empty() {
        let related = found.related.iter().map(|related| {
            let (line, column) = position(&file.source, related.span.start);
            json!({ "line": line, "column": column, "message": related.message })
        });
        value["related"] = related.collect();
    }
    if let Some(fix) = &found.fix {
        let (line, column) = position(&file.source, fix.span.start);
        let (end_line, end_column) = position(&file.source, fix.span.end);
        value["fix"] = json!({
            "line": line, "column": column, "endLine": end_line, "endColumn": end_column,
            "replacement": fix.replacement,
        });
    }
    value
}
