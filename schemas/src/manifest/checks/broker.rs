//! `mqttBroker` of `$edgeHub`: bridges and authorizations. The broker is gone, its configuration is still checked.
//!
//! One error here makes the hub refuse its whole configuration.

use super::subject::Subject;
use crate::document::node::{Member, Node};
use crate::rules;

const OPERATIONS: &[&str] = &["mqtt:publish", "mqtt:subscribe", "mqtt:connect"];
const VARIABLES: &[&str] =
    &["{{iot:identity}}", "{{iot:device_id}}", "{{iot:module_id}}", "{{mqtt:client_id}}", "{{iot:this_device_id}}"];

pub fn check<'d>(subject: &mut Subject<'d>, broker: &'d Member) {
    let Some(node) = subject.object(broker) else { return };
    subject.known_members(node, &["bridges", "authorizations"], "`mqttBroker`");
    for bridge in elements(subject, node, "bridges") {
        self::bridge(subject, bridge);
    }
    for statement in elements(subject, node, "authorizations") {
        authorization(subject, statement);
    }
}

fn elements<'d>(subject: &mut Subject<'d>, node: &'d Node, name: &str) -> &'d [Node] {
    let Some(member) = node.member_any_case(name).filter(|member| !member.value.is_null()) else { return &[] };
    if member.value.elements().is_none() {
        subject.wrong_type(member, "an array");
    }
    member.value.elements().unwrap_or_default()
}

fn invalid(subject: &mut Subject<'_>, node: &Node, message: impl Into<String>) {
    subject.report(&rules::BROKER, node.span, message);
}

fn bridge<'d>(subject: &mut Subject<'d>, bridge: &'d Node) {
    let endpoint = bridge.member_any_case("endpoint").and_then(|member| member.value.text()).unwrap_or("");
    if endpoint.is_empty() {
        return invalid(subject, bridge, "the endpoint of a bridge is empty");
    }
    let settings = elements(subject, bridge, "settings");
    if settings.is_empty() {
        invalid(subject, bridge, format!("the bridge {endpoint:?} has no settings"));
    }
    for (index, setting) in settings.iter().enumerate() {
        let text = |name: &str| setting.member_any_case(name).and_then(|member| member.value.text()).unwrap_or("");
        let whose = format!("rule {index} of the bridge {endpoint:?}");
        if !["in", "out", "both"].iter().any(|word| word.eq_ignore_ascii_case(text("direction"))) {
            invalid(subject, setting, format!("{whose}: the direction is `in`, `out` or `both`"));
        }
        if !text("topic").is_empty() && !is_topic_filter(text("topic")) {
            invalid(subject, setting, format!("{whose}: {:?} is not a topic filter", text("topic")));
        }
        for name in ["inPrefix", "outPrefix"] {
            if text(name).contains(['+', '#']) {
                invalid(subject, setting, format!("{whose}: `{name}` has a wildcard"));
            }
        }
    }
}

fn authorization<'d>(subject: &mut Subject<'d>, statement: &'d Node) {
    let identities = elements(subject, statement, "identities");
    if identities.is_empty() {
        invalid(subject, statement, "a statement has no identities");
    }
    for identity in identities {
        match identity.text() {
            Some("") | None => invalid(subject, identity, "an identity is empty"),
            Some(text) => variables(subject, identity, text),
        }
    }
    let (allow, deny) = (elements(subject, statement, "allow"), elements(subject, statement, "deny"));
    if allow.is_empty() && deny.is_empty() {
        invalid(subject, statement, "a statement neither allows nor denies anything");
    }
    for rule in allow.iter().chain(deny) {
        authorization_rule(subject, rule);
    }
}

fn authorization_rule<'d>(subject: &mut Subject<'d>, rule: &'d Node) {
    let operations = elements(subject, rule, "operations");
    if operations.is_empty() {
        invalid(subject, rule, "a rule has no operations");
    }
    for operation in operations {
        let text = operation.text().unwrap_or("");
        if !OPERATIONS.contains(&text) {
            let names = super::subject::list(OPERATIONS);
            invalid(subject, operation, format!("{text:?} is not an operation: there are {names}"));
        }
    }
    let resources = elements(subject, rule, "resources");
    let is_connect = operations.len() == 1 && operations[0].text() == Some("mqtt:connect");
    if resources.is_empty() && !is_connect {
        invalid(subject, rule, "a rule has no resources");
    }
    for resource in resources {
        let text = resource.text().unwrap_or("");
        variables(subject, resource, text);
        if text.is_empty() || !is_topic_filter(text) {
            invalid(subject, resource, format!("{text:?} is not a topic filter"));
        }
    }
}

fn variables(subject: &mut Subject<'_>, node: &Node, text: &str) {
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}") else { return };
        let variable = &rest[start..start + end + 2];
        if !VARIABLES.contains(&variable) {
            invalid(subject, node, format!("`{variable}` is not a variable of the broker"));
        }
        rest = &rest[start + end + 2..];
    }
}

/// A `#` stands alone in the last level, a `+` alone in its level.
fn is_topic_filter(topic: &str) -> bool {
    let levels: Vec<&str> = topic.split('/').collect();
    levels.iter().enumerate().all(|(index, level)| match *level {
        "#" => index + 1 == levels.len(),
        "+" => true,
        level => !level.contains(['#', '+']),
    })
}
