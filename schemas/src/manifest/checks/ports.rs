//! Ports of the host, which only one container can have.

use std::ops::RangeInclusive;

use super::create_options::Options;
use super::subject::Subject;
use crate::diagnostic::Diagnostic;
use crate::document::node::{Kind, Node, Span};
use crate::manifest::content::ModuleEntry;
use crate::rules;

/// A port of the host that a module binds.
pub struct Bound<'d> {
    module: &'d str,
    protocol: String,
    address: String,
    ports: RangeInclusive<u16>,
    span: Span,
}

/// The ports a text names: one, or a range.
pub fn host_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.trim().parse::<u16>().ok();
    let range = match text.split_once('-') {
        None => port(text).map(|port| port..=port),
        Some((first, last)) => Some(port(first)?..=port(last)?),
    }?;
    (*range.start() > 0 && range.start() <= range.end()).then_some(range)
}

/// Notes the ports a module binds, and reports those that a module before it has.
pub fn bind<'d>(subject: &mut Subject<'d>, entry: &ModuleEntry<'d>, options: &Options<'_>) {
    let stopped = entry.member.value.member_any_case("status").and_then(|status| status.value.text());
    if stopped.is_some_and(|status| status.eq_ignore_ascii_case("stopped")) {
        return;
    }
    for (span, mut binding) in bindings(&options.root, entry.name) {
        binding.span = options.place(subject.document, span);
        clash(subject, &binding);
        subject.bound.push(binding);
    }
}

/// The ports of a container, with the place of each in its options.
fn bindings<'d>(root: &Node, module: &'d str) -> Vec<(Span, Bound<'d>)> {
    let mut found = Vec::new();
    let Some(host) = root.member_any_case("HostConfig").map(|member| &member.value) else { return found };
    let on_host = host.member_any_case("NetworkMode").and_then(|mode| mode.value.text()) == Some("host");
    let ports = host.member_any_case("PortBindings").filter(|_| !on_host).and_then(|member| member.value.members());
    for binding in ports.unwrap_or_default() {
        let protocol = binding.key.split_once('/').map_or("tcp", |(_, protocol)| protocol).to_ascii_lowercase();
        for element in binding.value.elements().unwrap_or_default() {
            let Some(port) = element.member_any_case("HostPort") else { continue };
            let (Kind::String(text) | Kind::Number(text)) = &port.value.kind else { continue };
            // A range is no clash by itself: the engine picks a free port from it.
            let Some(ports) = host_ports(text).filter(|ports| ports.start() == ports.end()) else { continue };
            let address = element.member_any_case("HostIp").and_then(|ip| ip.value.text()).unwrap_or("").to_owned();
            let protocol = protocol.clone();
            found.push((port.value.span, Bound { module, protocol, address, ports, span: Span::default() }));
        }
    }
    found
}

fn clash(subject: &mut Subject<'_>, new: &Bound<'_>) {
    let is_any = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
    let other = subject.bound.iter().find(|other| {
        other.ports == new.ports
            && other.protocol == new.protocol
            && (other.address == new.address || is_any(&other.address) || is_any(&new.address))
    });
    let Some(other) = other else { return };
    let port = new.ports.start();
    let message = if other.module == new.module {
        format!("the module `{}` binds the port {port}/{} of the host twice", new.module, new.protocol)
    } else {
        format!(
            "the modules `{}` and `{}` both want the port {port}/{} of the host; only one of them will start",
            other.module, new.module, new.protocol
        )
    };
    let found = Diagnostic::new(&rules::PORT_CLASH, new.span, message);
    subject.add(found.related(other.span, format!("`{}` binds it here", other.module)));
}
