//! `$edgeHub`: everything but the routes' own texts.

use super::agent::{parse_version, shown};
use super::broker;
use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::node::{Member, Node, Span};
use crate::route::definition::MAX_PRIORITY;
use crate::rules;

pub fn check(subject: &mut Subject<'_>) {
    let Some(desired) = subject.desired("$edgeHub") else {
        let hub = subject.content.and_then(|content| content.value.member("$edgeHub"));
        if let Some(hub) = hub.filter(|_| !subject.is_layered) {
            let message = "`$edgeHub` has no `properties.desired`";
            subject.report(&rules::MISSING_PROPERTY, hub.key_span, message);
        }
        return;
    };
    let Some(node) = subject.object(desired) else { return };
    configuration(subject, node, desired.key_span);
}

/// The desired properties of an edge hub, whole. `at` stands for what is missing.
pub fn configuration<'d>(subject: &mut Subject<'d>, node: &'d Node, at: Span) {
    let known =
        ["schemaVersion", "routes", "storeAndForwardConfiguration", "mqttBroker", "integrity", "authorizations"];
    subject.known_members(node, &known, "the edge hub");
    let version = if subject.is_layered { Some((1, 3)) } else { schema_version(subject, node, at) };
    let minor = version.map_or(3, |(_, minor)| minor);
    if let Some(routes) = part(subject, node, at, "routes", minor > 0) {
        subject.object(routes);
    }
    if let Some(store) = part(subject, node, at, "storeAndForwardConfiguration", minor > 0) {
        store_and_forward(subject, store);
    }
    for (name, since) in [("mqttBroker", 2), ("integrity", 3)] {
        let Some(member) = node.member_any_case(name).filter(|member| !member.value.is_null()) else { continue };
        if minor < since {
            let message = format!("`{name}` is read from schema version 1.{since} on, and this is 1.{minor}");
            subject.report(&rules::FEATURE_VERSION, member.key_span, message);
        } else if name == "mqttBroker" {
            broker::check(subject, member);
        }
    }
}

fn part<'d>(subject: &mut Subject<'d>, node: &'d Node, at: Span, name: &str, required: bool) -> Option<&'d Member> {
    if required && !subject.is_layered {
        subject.required(node, at, name, "the configuration of `$edgeHub`")
    } else {
        node.member_any_case(name)
    }
}

fn schema_version(subject: &mut Subject<'_>, node: &Node, at: Span) -> Option<(u32, u32)> {
    let Some(member) = node.member_any_case("schemaVersion") else {
        subject.report(&rules::MISSING_PROPERTY, at, "the configuration of `$edgeHub` has no `schemaVersion`");
        return None;
    };
    let version = member.value.text().and_then(parse_version);
    if let Some((1, 0..=3)) = version {
        return version;
    }
    let message = format!("the edge hub refuses the schema version {}", shown(&member.value));
    let found = Diagnostic::new(&rules::SCHEMA_VERSION, member.value.span, message);
    subject.add(found.help("It takes \"1.0\", \"1.1\", \"1.2\" and \"1.3\"."));
    None
}

fn store_and_forward<'d>(subject: &mut Subject<'d>, member: &'d Member) {
    let Some(node) = subject.object(member) else { return };
    subject.known_members(node, &["timeToLiveSecs", "storeLimits"], "`storeAndForwardConfiguration`");
    match node.member_any_case("timeToLiveSecs") {
        None => {
            let message = "`storeAndForwardConfiguration` has no `timeToLiveSecs`: messages are kept for ever";
            subject.report(&rules::NO_TIME_TO_LIVE, member.key_span, message);
        }
        Some(time) => whole_number(subject, time, i64::from(i32::MIN), i64::from(i32::MAX)),
    }
    let Some(limits) = node.member_any_case("storeLimits").filter(|limits| !limits.value.is_null()) else { return };
    let Some(node) = subject.object(limits) else { return };
    if let Some(size) = node.member_any_case("maxSizeBytes") {
        whole_number(subject, size, i64::MIN, i64::MAX);
    }
}

/// A number, or a text that the hub turns into one.
pub fn whole_number(subject: &mut Subject<'_>, member: &Member, least: i64, most: i64) {
    if member.value.is_null() {
        return;
    }
    let as_text = member.value.text().and_then(|text| text.trim().parse().ok());
    match member.value.integer().or(as_text) {
        Some(number) if (least..=most).contains(&number) => {}
        Some(number) => {
            let message = format!("`{}` is {number}, which is not from {least} to {most}", member.key);
            subject.report(&rules::OUT_OF_RANGE, member.value.span, message);
        }
        None => subject.wrong_type(member, "a whole number"),
    }
}

/// A route in the form of an object: everything but its text.
pub fn route_object<'d>(subject: &mut Subject<'d>, route: &'d Member, takes_objects: bool) -> Option<&'d Node> {
    let whose = format!("the route `{}`", route.key);
    if !takes_objects {
        let message = format!("{whose} is an object, which needs schema version 1.1 or later");
        subject.report(&rules::FEATURE_VERSION, route.value.span, message);
    }
    subject.known_members(&route.value, &["route", "priority", "timeToLiveSecs"], "a route");
    if let Some(priority) = route.value.member_any_case("priority") {
        whole_number(subject, priority, 0, i64::from(MAX_PRIORITY));
    }
    if let Some(time) = route.value.member_any_case("timeToLiveSecs") {
        whole_number(subject, time, 0, i64::from(u32::MAX));
    }
    let text = subject.required(&route.value, route.key_span, "route", &whose)?;
    subject.string(text)?;
    Some(&text.value)
}
