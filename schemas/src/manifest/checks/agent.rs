//! `$edgeAgent`: the runtime and the two groups of modules.

use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::node::{Member, Node, Span};
use crate::rules;

pub fn check(subject: &mut Subject<'_>) {
    let Some(desired) = subject.desired("$edgeAgent") else { return missing(subject) };
    let Some(node) = subject.object(desired) else { return };
    let known = ["schemaVersion", "runtime", "systemModules", "modules", "integrity"];
    subject.known_members(node, &known, "the edge agent");
    let at = desired.key_span;
    if !subject.is_layered {
        schema_version(subject, node, at);
    }
    if let Some(runtime) = section(subject, node, at, "runtime") {
        self::runtime(subject, runtime);
    }
    for name in ["systemModules", "modules"] {
        if let Some(section) = section(subject, node, at, name) {
            self::modules(subject, section, name == "systemModules");
        }
    }
}

/// A base deployment has the whole configuration in one place.
fn missing(subject: &mut Subject<'_>) {
    let agent = subject.content.and_then(|content| content.value.member("$edgeAgent"));
    if let Some(agent) = agent.filter(|_| !subject.is_layered) {
        let message = "`$edgeAgent` has no `properties.desired`";
        subject.report(&rules::MISSING_PROPERTY, agent.key_span, message);
    }
}

/// A part of the configuration: required, except in a layer.
fn section<'d>(subject: &mut Subject<'d>, node: &'d Node, at: Span, name: &str) -> Option<&'d Member> {
    let member = if subject.is_layered {
        node.member_any_case(name)
    } else {
        subject.required(node, at, name, "the configuration of `$edgeAgent`")
    }?;
    subject.object(member).map(|_| member)
}

fn schema_version(subject: &mut Subject<'_>, node: &Node, at: Span) {
    let Some(member) = node.member_any_case("schemaVersion") else {
        subject.report(&rules::MISSING_PROPERTY, at, "the configuration of `$edgeAgent` has no `schemaVersion`");
        return;
    };
    let version = member.value.text().and_then(parse_version);
    // The agent knows 1.1: the same major version, and no later minor version.
    if !matches!(version, Some((1, 0 | 1))) {
        let found = Diagnostic::new(
            &rules::SCHEMA_VERSION,
            member.value.span,
            format!("the edge agent refuses the schema version {}", shown(&member.value)),
        );
        let found = found.help("It takes \"1.0\" and \"1.1\".");
        let is_newer_hub_version = matches!(version, Some((1, 2 | 3)));
        subject.add(if is_newer_hub_version { found.fix(member.value.span, "\"1.1\"") } else { found });
    }
}

/// The first two parts of a version; there must be two, and all parts must be numbers.
pub fn parse_version(text: &str) -> Option<(u32, u32)> {
    let parts: Vec<u32> = text.trim().split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts[..] {
        [major, minor] | [major, minor, _] | [major, minor, _, _] => Some((major, minor)),
        _ => None,
    }
}

/// A value as it is shown in a message.
pub fn shown(node: &Node) -> String {
    crate::document::write::compact(node)
}

fn runtime<'d>(subject: &mut Subject<'d>, runtime: &'d Member) {
    let node = &runtime.value;
    subject.known_members(node, &["type", "settings"], "the runtime");
    if let Some(kind) = subject.required(node, runtime.key_span, "type", "the runtime") {
        subject.word(kind, &["docker"]);
    }
    let Some(settings) = subject.required(node, runtime.key_span, "settings", "the runtime") else { return };
    let Some(node) = subject.object(settings) else { return };
    let known = ["minDockerVersion", "loggingOptions", "registryCredentials"];
    subject.known_members(node, &known, "the settings of the runtime");
    for name in ["minDockerVersion", "loggingOptions"] {
        if let Some(member) = node.member_any_case(name).filter(|member| !member.value.is_null()) {
            subject.string(member);
        }
    }
    let credentials = node.member_any_case("registryCredentials").filter(|member| !member.value.is_null());
    let Some(credentials) = credentials.and_then(|member| subject.object(member)) else { return };
    for member in credentials.members().unwrap_or_default() {
        credential(subject, member);
    }
}

fn credential<'d>(subject: &mut Subject<'d>, credential: &'d Member) {
    let Some(node) = subject.object(credential) else { return };
    subject.known_members(node, &["address", "username", "password"], "a registry credential");
    for name in ["address", "username", "password"] {
        let whose = format!("the registry credential `{}`", credential.key);
        let Some(member) = subject.required(node, credential.key_span, name, &whose) else { continue };
        if subject.string(member).is_some_and(|text| text.trim().is_empty()) {
            subject.report(&rules::EMPTY_VALUE, member.value.span, format!("`{name}` of {whose} is empty"));
        }
    }
    let Some(address) = node.member_any_case("address").and_then(|member| member.value.text().map(|t| (member, t)))
    else {
        return;
    };
    super::image::credential_address(subject, credential, address.0, address.1);
}

fn modules<'d>(subject: &mut Subject<'d>, section: &'d Member, is_system: bool) {
    if is_system && !subject.is_layered {
        for name in ["edgeAgent", "edgeHub"] {
            subject.required(&section.value, section.key_span, name, "`systemModules`");
        }
    }
    if is_system {
        subject.known_members(&section.value, &["edgeAgent", "edgeHub"], "`systemModules`");
    }
}
