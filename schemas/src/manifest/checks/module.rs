//! A module under `$edgeAgent`.

use super::subject::Subject;
use super::{create_options, image, ports};
use crate::diagnostic::Diagnostic;
use crate::document::node::{Kind, Member, Node};
use crate::manifest::content::{ModuleEntry, Section};
use crate::rules;

/// The properties of a module.
const KNOWN: &[&str] = &[
    "version",
    "type",
    "status",
    "restartPolicy",
    "imagePullPolicy",
    "startupOrder",
    "env",
    "settings",
    "configuration",
];

/// The states the agent's parser takes besides the two that mean something.
const OTHER_STATES: &[&str] = &["unknown", "backoff", "unhealthy", "failed", "dead"];

pub fn check<'d>(subject: &mut Subject<'d>, entry: &ModuleEntry<'d>) {
    // A path that goes on below the module changes a part of it, which is checked where it is whole.
    let Some(node) = subject.object(entry.member) else { return };
    let whose = format!("the module `{}`", entry.name);
    name(subject, entry);
    subject.known_members(node, KNOWN, &whose);
    let at = entry.member.key_span;
    if let Some(member) = subject.required(node, at, "type", &whose) {
        subject.word(member, &["docker"]);
    }
    let is_agent = entry.section == Section::System && entry.name == "edgeAgent";
    if !is_agent {
        status(subject, node, entry, &whose);
    }
    optional(node, "restartPolicy", |member| {
        subject.word(member, &["never", "on-failure", "on-unhealthy", "always"]);
    });
    if node.member_any_case("restartPolicy").is_none() && entry.section == Section::User {
        let message = format!("{whose} has no `restartPolicy`, which means `on-unhealthy`");
        subject.report(&rules::DEFAULT_RESTART_POLICY, at, message);
    }
    optional(node, "imagePullPolicy", |member| subject.word(member, &["on-create", "never"]));
    optional(node, "version", |member| {
        if !matches!(member.value.kind, Kind::String(_) | Kind::Number(_)) {
            subject.wrong_type(member, "a string");
        }
    });
    optional(node, "startupOrder", |member| startup_order(subject, member));
    optional(node, "env", |member| environment(subject, member));
    if let Some(settings) = subject.required(node, at, "settings", &whose) {
        self::settings(subject, settings, entry, &whose);
    }
}

fn optional<'d>(node: &'d Node, name: &str, check: impl FnOnce(&'d Member)) {
    if let Some(member) = node.member_any_case(name).filter(|member| !member.value.is_null()) {
        check(member);
    }
}

fn name(subject: &mut Subject<'_>, entry: &ModuleEntry<'_>) {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !entry.name.is_empty() && entry.name.chars().all(is_allowed) {
        return;
    }
    let message = format!("{:?} is not the name of a module", entry.name);
    let found = Diagnostic::new(&rules::MODULE_NAME, entry.member.key_span, message);
    subject.add(found.help("A module's name has letters, digits, `-` and `_`."));
}

fn status<'d>(subject: &mut Subject<'d>, node: &'d Node, entry: &ModuleEntry<'d>, whose: &str) {
    let Some(member) = subject.required(node, entry.member.key_span, "status", whose) else { return };
    let other = member.value.text().is_some_and(|text| OTHER_STATES.iter().any(|s| s.eq_ignore_ascii_case(text)));
    if other {
        let message =
            format!("`status` is {}, which is neither `running` nor `stopped`", super::agent::shown(&member.value));
        subject.report(&rules::ODD_STATUS, member.value.span, message);
    } else {
        subject.word(member, &["running", "stopped"]);
    }
}

fn startup_order(subject: &mut Subject<'_>, member: &Member) {
    let version = subject.desired("$edgeAgent").and_then(|agent| agent.value.member_any_case("schemaVersion"));
    let version = version.and_then(|version| version.value.text()).and_then(super::agent::parse_version);
    if version == Some((1, 0)) {
        let message = "`startupOrder` came with schema version 1.1, and this is 1.0";
        subject.report(&rules::LATER_FEATURE, member.key_span, message);
    }
    let as_text = member.value.text().and_then(|text| text.trim().parse::<i64>().ok());
    match member.value.integer().or(as_text) {
        Some(0..=4_294_967_295) => {}
        Some(_) => {
            let message = "`startupOrder` is not between 0 and 4294967295";
            subject.report(&rules::OUT_OF_RANGE, member.value.span, message);
        }
        None => subject.wrong_type(member, "a whole number"),
    }
}

fn environment<'d>(subject: &mut Subject<'d>, member: &'d Member) {
    let Some(node) = subject.object(member) else { return };
    for variable in node.members().unwrap_or_default() {
        variable_name(subject, variable);
        if variable.value.is_null() {
            continue;
        }
        let Some(holder) = variable.value.members() else {
            let message = format!("the variable `{}` is {}, not an object", variable.key, variable.value.kind_name());
            let mut found =
                Diagnostic::new(&rules::WRONG_TYPE, variable.value.span, message).help("Write `{ \"value\": … }`.");
            if variable.value.elements().is_none() {
                let value = super::agent::shown(&variable.value);
                found = found.fix(variable.value.span, format!("{{ \"value\": {value} }}"));
            }
            subject.add(found);
            continue;
        };
        subject.known_members(&variable.value, &["value"], "a variable");
        match holder.iter().rev().find(|inner| inner.key.eq_ignore_ascii_case("value")) {
            None => {
                let message = format!("the variable `{}` has no `value`", variable.key);
                subject.report(&rules::MISSING_PROPERTY, variable.key_span, message);
            }
            Some(value) if matches!(value.value.kind, Kind::Array(_) | Kind::Object(_)) => {
                subject.wrong_type(value, "a string, a number or a boolean");
            }
            Some(_) => {}
        }
    }
}

fn variable_name(subject: &mut Subject<'_>, variable: &Member) {
    let wrong = variable.key.chars().find(|c| matches!(c, '+' | '#' | '$' | '.') || c.is_whitespace());
    if variable.key.is_empty() || wrong.is_some() {
        let message = match wrong {
            Some(character) => format!("the name of a variable cannot have {character:?}"),
            None => "a variable has no name".to_owned(),
        };
        let found = Diagnostic::new(&rules::VARIABLE_NAME, variable.key_span, message);
        subject.add(
            found.help("Write `__` where a configuration section is meant, or put it into `Env` of createOptions."),
        );
    }
}

fn settings<'d>(subject: &mut Subject<'d>, settings: &'d Member, entry: &ModuleEntry<'d>, whose: &str) {
    let Some(node) = subject.object(settings) else { return };
    let mut known = vec!["image", "digest"];
    for member in node.members().unwrap_or_default() {
        if let Some(name) = KNOWN.iter().find(|name| name.eq_ignore_ascii_case(&member.key)) {
            let message = format!("`{}` belongs to the module, beside `settings`; here nobody reads it", member.key);
            subject.report(&rules::MISPLACED_PROPERTY, member.key_span, message);
            known.push(name);
        }
    }
    // Chunks of create options have rules of their own.
    let is_chunk = |key: &str| key.get(..13).is_some_and(|start| start.eq_ignore_ascii_case("createOptions"));
    subject.known_members_but(node, &known, "`settings`", &is_chunk);
    if let Some(member) = subject.required(node, settings.key_span, "image", whose) {
        image::check(subject, member);
    }
    if let Some(options) = create_options::check(subject, node) {
        ports::bind(subject, entry, &options);
    }
}
