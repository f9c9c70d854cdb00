//! The outer shape: which modules have content, and what kind of content.

use super::subject::Subject;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::document::node::{Kind, Member, Node, Span};
use crate::rules;

pub fn check(subject: &mut Subject<'_>) {
    if let Some(span) = subject.document.extension
        && subject.purpose == super::run::Purpose::Manifest
    {
        subject.report(&rules::EXTENDED_JSON, span, "this is JSON with comments, which other tools may not read");
    }
    repeated_names(subject, &subject.document.root);
    let Some(content) = subject.content else {
        let message = "there is no `modulesContent` in this document";
        let span = subject.document.root.span;
        subject.report(&rules::UNKNOWN_DOCUMENT, Span::new(span.start, (span.start + 1).min(span.end)), message);
        return;
    };
    if content.key == "moduleContent" {
        let message = "`moduleContent` is an old spelling of `modulesContent`";
        let found = Diagnostic::new(&rules::OLD_SPELLING, content.key_span, message);
        subject.add(found.fix(content.key_span, "\"modulesContent\""));
    }
    let Some(modules) = subject.object(content) else { return };
    required_modules(subject, content);
    for member in modules.members().unwrap_or_default() {
        module_content(subject, member);
    }
}

/// Whether this is the configuration of modules of their own, without an edge device: its desired properties stand
/// where an edge deployment has modules. There is nothing in it that an edge device would read.
pub fn is_for_one_module(subject: &Subject<'_>) -> bool {
    let members = subject.content.and_then(|content| content.value.members()).unwrap_or_default();
    !members.is_empty() && members.iter().all(|member| member.key.starts_with("properties.desired"))
}

/// Of members with the same name, only the last one counts.
fn repeated_names(subject: &mut Subject<'_>, node: &Node) {
    match &node.kind {
        Kind::Array(elements) => elements.iter().for_each(|element| repeated_names(subject, element)),
        Kind::Object(members) => {
            for (first, member) in repeated(members) {
                let message = format!("`{}` appears twice; only the last one counts", member.key);
                let found = Diagnostic::new(&rules::REPEATED_NAME, member.key_span, message);
                subject.add(found.related(first.key_span, "the first one is here"));
            }
            for member in members {
                repeated_names(subject, &member.value);
            }
        }
        _ => {}
    }
}

/// Members whose name an earlier one has, each behind the one before it.
fn repeated(members: &[Member]) -> Vec<(&Member, &Member)> {
    // Stable, so members of one name stay in the order in which they stand.
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    sorted.windows(2).filter(|pair| pair[0].key == pair[1].key).map(|pair| (pair[0], pair[1])).collect()
}

/// A base deployment brings an agent and a hub.
fn required_modules(subject: &mut Subject<'_>, content: &Member) {
    if subject.is_layered {
        return;
    }
    for name in ["$edgeAgent", "$edgeHub"] {
        if content.value.member(name).is_none() {
            let message = format!("`{}` has no `{name}`", content.key);
            let found = Diagnostic::new(&rules::MISSING_PROPERTY, content.key_span, message);
            let like = content
                .value
                .members()
                .unwrap_or_default()
                .iter()
                .find(|member| member.key.trim_start_matches('$').eq_ignore_ascii_case(&name[1..]));
            subject.add(match like {
                Some(member) => found.related(member.key_span, format!("is this meant to be `{name}`?")),
                None => found,
            });
        }
    }
}

/// A module's content is its desired properties, whole or as dotted paths, and nothing else.
fn module_content<'d>(subject: &mut Subject<'d>, member: &'d Member) {
    let Some(node) = subject.object(member) else { return };
    let is_system = matches!(member.key.as_str(), "$edgeAgent" | "$edgeHub");
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !is_system && !is_name(&member.key) {
        let message = format!("{:?} is not the name of a module", member.key);
        subject.add(
            Diagnostic::new(&rules::MODULE_NAME, member.key_span, message)
                .help("A module's name has letters, digits, `-` and `_`."),
        );
    }
    for inner in node.members().unwrap_or_default() {
        let is_path = inner.key == "properties.desired" || inner.key.starts_with("properties.desired.");
        if inner.key == "properties.desired" {
            subject.object(inner);
        } else if !is_path && inner.key != "properties" {
            let message = format!("`{}` is not a property of a module's content", inner.key);
            let found = Diagnostic::new(&rules::CONTENT_PROPERTY, inner.key_span, message);
            subject.add(match did_you_mean(&inner.key, ["properties.desired"]) {
                Some(meant) => found.help(format!("Did you mean `{meant}`?")),
                None => found.help("Desired properties stand under `properties.desired`."),
            });
        }
    }
    let is_declared = subject.modules.iter().any(|entry| entry.name == member.key);
    if !is_system && !is_declared && !subject.is_layered {
        twin_without_module(subject, member);
    }
}

fn twin_without_module(subject: &mut Subject<'_>, member: &Member) {
    let message = format!("there is a twin for the module `{}`, but no such module", member.key);
    let mut found = Diagnostic::new(&rules::TWIN_WITHOUT_MODULE, member.key_span, message);
    let meant = did_you_mean(&member.key, subject.modules.iter().map(|entry| entry.name));
    if let Some(entry) = meant.and_then(|meant| subject.modules.iter().find(|entry| entry.name == meant)) {
        found = found.related(entry.member.key_span, "is this the module?");
    }
    subject.add(found);
}
