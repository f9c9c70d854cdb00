//! Routes: their names, their texts, and the modules they name.

use super::agent::parse_version;
use super::hub::route_object;
use super::subject::Subject;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::document::node::{Kind, Member, Node, Span};
use crate::manifest::variable::is_open;
use crate::route;
use crate::route::error::Finding;
use crate::route::parser::Route;
use crate::route::sink::Endpoint;
use crate::rules;

pub fn check(subject: &mut Subject<'_>) {
    let Some(hub) = subject.content.and_then(|content| content.value.get("$edgeHub")) else { return };
    let desired = subject.desired("$edgeHub").map(|desired| &desired.value);
    let known = known_modules(subject);
    let version = desired.and_then(|desired| desired.member_any_case("schemaVersion")?.value.text());
    // Under 1.0 a route is a text, and a blank one is passed over.
    let is_first_version = version.and_then(parse_version) == Some((1, 0));
    let whole = desired.and_then(|desired| desired.member_any_case("routes")).into_iter();
    let paths = hub.members().unwrap_or_default().iter();
    for routes in whole.chain(paths.clone().filter(|member| member.key == "properties.desired.routes")) {
        for route in routes.value.members().unwrap_or_default() {
            self::route(subject, route, &route.key, is_first_version, known.as_deref());
        }
    }
    for member in paths {
        if let Some(name) = member.key.strip_prefix("properties.desired.routes.") {
            route(subject, member, name, is_first_version, known.as_deref());
        }
    }
}

/// The modules there are, each with the place of its name.
type Known<'k, 'd> = Option<&'k [(&'d str, Span)]>;

fn route<'d>(subject: &mut Subject<'d>, member: &'d Member, name: &str, is_first_version: bool, known: Known<'_, 'd>) {
    if name.trim().is_empty() {
        subject.report(&rules::EMPTY_VALUE, member.key_span, "a route has no name");
    }
    let node = match &member.value.kind {
        Kind::String(_) => Some(&member.value),
        Kind::Object(_) => route_object(subject, member, !is_first_version),
        Kind::Null => return,
        _ => {
            subject.wrong_type(member, "a string or an object");
            None
        }
    };
    let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return };
    if text.trim().is_empty() {
        if !is_first_version {
            subject.report(&rules::EMPTY_VALUE, node.span, format!("the route `{name}` is empty"));
        }
        return;
    }
    if is_open(text) {
        return;
    }
    let checked = route::check::check(text);
    for finding in &checked.findings {
        add_finding(subject, node, finding);
    }
    let Some(known) = known else { return };
    if let Some(module) = &checked.source_module {
        module_of_source(subject, node, module, known);
    }
    if let Some(Endpoint::Module { module, .. }) = &checked.endpoint {
        module_of_sink(subject, node, module, known);
    }
}

fn inside(subject: &Subject<'_>, node: &Node, span: route::error::Span) -> Span {
    subject.document.inside(node, Span::new(span.start, span.end))
}

fn add_finding(subject: &mut Subject<'_>, node: &Node, finding: &Finding) {
    let span = inside(subject, node, finding.span);
    let mut found = Diagnostic::new(rules::of_route(finding.code), span, finding.message.clone());
    if let Some(advice) = &finding.advice {
        found = found.label(advice.clone());
    }
    subject.add(found);
}

/// The modules a route may name. In a layer, and in a fragment without modules, nobody knows them all.
fn known_modules<'d>(subject: &Subject<'d>) -> Option<Vec<(&'d str, Span)>> {
    let names: Vec<_> = subject.user_modules().map(|entry| (entry.name, entry.member.key_span)).collect();
    let is_whole =
        subject.desired("$edgeAgent").is_some_and(|desired| desired.value.member_any_case("modules").is_some());
    (is_whole && !subject.is_layered).then_some(names)
}

fn module_of_source(subject: &mut Subject<'_>, node: &Node, module: &str, known: &[(&str, Span)]) {
    // Sources match in any case, and the agent and the hub never send.
    if module.contains('*') || known.iter().any(|(name, _)| name.eq_ignore_ascii_case(module)) {
        return;
    }
    let span = part_of(node, module, |route| route.source.span);
    let message = format!("there is no module `{module}`, so no message comes from it");
    let found = Diagnostic::new(&rules::ROUTE_UNKNOWN_SOURCE, inside(subject, node, span), message);
    subject.add(with_likely(found, module, known));
}

fn module_of_sink(subject: &mut Subject<'_>, node: &Node, module: &str, known: &[(&str, Span)]) {
    if known.iter().any(|(name, _)| *name == module) {
        return;
    }
    let span = part_of(node, module, |route| route.sink.address.unwrap_or(route.sink.span));
    let place = inside(subject, node, span);
    if let Some((name, declared)) = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(module)) {
        let message = format!("the module is called `{name}`, not `{module}`");
        let found = Diagnostic::new(&rules::ROUTE_MODULE_CASE, place, message);
        subject.add(found.related(*declared, "it is declared here").fix(place, (*name).to_owned()));
        return;
    }
    let message = format!("there is no module `{module}`: messages for it wait until they expire");
    let found = Diagnostic::new(&rules::ROUTE_UNKNOWN_SINK, place, message);
    subject.add(with_likely(found, module, known));
}

/// The place of the module's name in a part of a route.
fn part_of(node: &Node, module: &str, part: impl Fn(&Route) -> route::error::Span) -> route::error::Span {
    let text = node.text().unwrap_or_default();
    let span = Route::parse(text).map_or(route::error::Span::new(0, text.len()), |route| part(&route));
    match span.of(text).find(module) {
        Some(offset) => route::error::Span::new(span.start + offset, span.start + offset + module.len()),
        None => span,
    }
}

fn with_likely(found: Diagnostic, module: &str, known: &[(&str, Span)]) -> Diagnostic {
    match did_you_mean(module, known.iter().map(|(name, _)| *name)) {
        Some(meant) => {
            let declared = known.iter().find(|(name, _)| *name == meant).map(|(_, span)| *span);
            let found = found.help(format!("Did you mean `{meant}`?"));
            declared.map_or(found.clone(), |span| found.related(span, "this module is declared here"))
        }
        None => found,
    }
}
