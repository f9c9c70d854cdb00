//! The limits of a twin, which desired properties have to keep.

use super::run::Purpose;
use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::node::{Kind, Member, Node};
use crate::manifest::variable::is_open;
use crate::rules;

/// Deepest nesting of properties.
const MAX_DEPTH: usize = 10;
/// Longest name, in bytes.
const MAX_NAME: usize = 1024;
/// Longest text, in bytes.
const MAX_TEXT: usize = 4096;
/// Largest section, in bytes of names and values.
const MAX_SECTION: usize = 32 * 1024;
/// Whole numbers are exact between this and its negative.
const MAX_NUMBER: i64 = 1 << 52;

pub fn check(subject: &mut Subject<'_>) {
    let Some(content) = subject.content else { return };
    for module in content.value.members().unwrap_or_default() {
        let mut size = 0;
        for member in module.value.members().unwrap_or_default() {
            if member.key == "properties.desired" || member.key.starts_with("properties.desired.") {
                let depth = member.key.split('.').count() - 1;
                properties(subject, &member.value, depth, &module.key);
                size += section_size(&member.value);
            }
        }
        // A template's create options are counted when they are rendered.
        if size > MAX_SECTION && subject.purpose == Purpose::Manifest {
            let message =
                format!("the desired properties of `{}` have {size} bytes, the most is {MAX_SECTION}", module.key);
            subject.report(&rules::TWIN_SIZE, module.key_span, message);
        }
    }
}

fn properties(subject: &mut Subject<'_>, node: &Node, depth: usize, module: &str) {
    match &node.kind {
        Kind::Object(members) => {
            if depth > MAX_DEPTH && !members.is_empty() {
                let message = format!("properties are nested deeper than {MAX_DEPTH} levels");
                subject.report(&rules::TWIN_DEPTH, node.span, message);
                return;
            }
            for member in members {
                name(subject, member, module);
                // A template's create options become text.
                let is_options = subject.purpose == Purpose::Template && member.key.starts_with("createOptions");
                if !is_options {
                    properties(subject, &member.value, depth + 1, module);
                }
            }
        }
        Kind::Array(elements) => {
            for element in elements {
                properties(subject, element, depth, module);
            }
        }
        Kind::String(text) if text.len() > MAX_TEXT => {
            let message = format!("this text has {} bytes, and a value of a twin at most {MAX_TEXT}", text.len());
            subject.report(&rules::VALUE_LENGTH, node.span, message);
        }
        Kind::Number(raw)
            if !raw.contains(['.', 'e', 'E'])
                && !raw.parse::<i64>().is_ok_and(|number| (-MAX_NUMBER..MAX_NUMBER).contains(&number)) =>
        {
            let message = format!("{raw} is not a whole number that a twin can hold");
            let found = Diagnostic::new(&rules::TWIN_NUMBER, node.span, message);
            subject.add(found.help("It is from -4503599627370496 to 4503599627370495; write others as texts."));
        }
        _ => {}
    }
}

fn name(subject: &mut Subject<'_>, member: &Member, module: &str) {
    if member.key.len() > MAX_NAME {
        let message = format!("a name has {} bytes, the most is {MAX_NAME}", member.key.len());
        subject.report(&rules::TWIN_NAME, member.key_span, message);
    }
    if member.key.starts_with("$version") || member.key.starts_with("$metadata") || is_open(&member.key) {
        return;
    }
    let wrong = member.key.chars().find(|c| matches!(c, '.' | '$' | '#' | ' ') || c.is_control());
    // Names of modules and of variables of the environment have rules of their own.
    if let Some(character) = wrong.filter(|_| !has_own_rule(subject, member)) {
        let message =
            format!("{:?} in the twin of `{module}` has {character:?}, which no name of a twin may have", member.key);
        subject.report(&rules::TWIN_NAME, member.key_span, message);
    }
}

fn has_own_rule(subject: &Subject<'_>, member: &Member) -> bool {
    subject.modules.iter().any(|entry| std::ptr::eq(entry.member, member))
        || subject.found.iter().any(|found| {
            found.span == member.key_span && (found.rule == &rules::VARIABLE_NAME || found.rule == &rules::MODULE_NAME)
        })
}

/// Names and values, without brackets and quotes, as a hub counts them.
fn section_size(node: &Node) -> usize {
    match &node.kind {
        Kind::Null => 0,
        Kind::Bool(_) => 4,
        Kind::Number(_) => 8,
        Kind::String(text) => text.len(),
        Kind::Array(elements) => elements.iter().map(section_size).sum(),
        Kind::Object(members) => members.iter().map(|member| member.key.len() + section_size(&member.value)).sum(),
    }
}
