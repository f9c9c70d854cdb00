//! What the container engine makes of create options.

use super::create_options::Options;
use super::subject::Subject;
use crate::diagnostic::{Diagnostic, Rule, did_you_mean};
use crate::document::node::{Kind, Member, Node, Span};
use crate::manifest::create_options::{CONTAINER_FIELDS, HOST_FIELDS};
use crate::manifest::variable::is_open;
use crate::rules;

/// Fields of a create request that the agent passes on without knowing them.
const OTHER_CONTAINER_FIELDS: &[&str] = &["Platform"];
/// Such fields of its `HostConfig`.
const OTHER_HOST_FIELDS: &[&str] = &["DeviceRequests", "Annotations", "KernelMemoryTCP"];
/// The engine's own socket: whoever reaches it rules the machine.
const ENGINE_SOCKETS: &[&str] = &["/var/run/docker.sock", "/run/docker.sock", "//./pipe/docker_engine"];

struct Container<'s, 'd, 'o> {
    subject: &'s mut Subject<'d>,
    options: &'o Options<'d>,
}

pub fn check<'d>(subject: &mut Subject<'d>, options: &Options<'d>) {
    let mut container = Container { subject, options };
    let root = &*options.root;
    container.fields(root, false);
    container.strings(root, "Env");
    let Some(host) = root.member_any_case("HostConfig").filter(|member| !member.value.is_null()) else { return };
    if host.value.members().is_none() {
        container.wrong_type(host, "an object");
        return;
    }
    container.fields(&host.value, true);
    container.port_bindings(&host.value);
    container.binds(&host.value);
    container.mounts(&host.value);
    container.privileged(&host.value);
}

impl Container<'_, '_, '_> {
    fn place(&self, span: Span) -> Span {
        self.options.place(self.subject.document, span)
    }

    fn report(&mut self, rule: &'static Rule, span: Span, message: impl Into<String>) {
        let span = self.place(span);
        self.subject.report(rule, span, message);
    }

    fn wrong_type(&mut self, member: &Member, expected: &str) {
        let message = format!("`{}` is {}, not {expected}", member.key, member.value.kind_name());
        self.report(&rules::OPTION_TYPE, member.value.span, message);
    }

    /// Names that the engine does not know on this level, or knows on the other one.
    fn fields(&mut self, node: &Node, is_host: bool) {
        let (own, own_others, other, whose) = if is_host {
            (HOST_FIELDS, OTHER_HOST_FIELDS, CONTAINER_FIELDS, "`HostConfig`")
        } else {
            (CONTAINER_FIELDS, OTHER_CONTAINER_FIELDS, HOST_FIELDS, "createOptions")
        };
        for member in node.members().unwrap_or_default() {
            let is = |name: &&&str| name.eq_ignore_ascii_case(&member.key);
            if let Some(name) = own.iter().find(is) {
                if **name != member.key {
                    let message = format!("`{}` is written `{name}`; the edge agent corrects it", member.key);
                    self.report(&rules::OPTION_CASE, member.key_span, message);
                }
                continue;
            }
            if own_others.iter().any(|name| *name == member.key) || is_open(&member.key) {
                continue;
            }
            let (rule, message, help) = match other.iter().chain(OTHER_HOST_FIELDS).find(is) {
                Some(name) => {
                    let where_to = if is_host { "beside `HostConfig`" } else { "into `HostConfig`" };
                    let message = format!("`{name}` does nothing in {whose}");
                    (&rules::MISPLACED_OPTION, message, Some(format!("It belongs {where_to}.")))
                }
                None => {
                    let meant = did_you_mean(&member.key, own.iter().chain(other).copied());
                    let message = format!("the container engine knows no `{}` in {whose}", member.key);
                    (&rules::UNKNOWN_OPTION, message, meant.map(|meant| format!("Did you mean `{meant}`?")))
                }
            };
            let mut found = Diagnostic::new(rule, self.place(member.key_span), message);
            found.help = help;
            self.subject.add(found);
        }
    }

    /// A member that is a list of texts; gives them with their places.
    fn strings<'n>(&mut self, node: &'n Node, name: &str) -> Vec<(&'n str, Span)> {
        let Some(member) = node.member_any_case(name).filter(|member| !member.value.is_null()) else {
            return Vec::new();
        };
        let Some(elements) = member.value.elements() else {
            self.wrong_type(member, "an array of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for element in elements {
            match element.text() {
                Some(text) => texts.push((text, element.span)),
                None => {
                    let message = format!("an element of `{name}` is {}, not a string", element.kind_name());
                    self.report(&rules::OPTION_TYPE, element.span, message);
                }
            }
        }
        texts
    }

    fn port_bindings(&mut self, host: &Node) {
        let Some(member) = host.member_any_case("PortBindings").filter(|member| !member.value.is_null()) else {
            return;
        };
        let Some(bindings) = member.value.members() else { return self.wrong_type(member, "an object") };
        for binding in bindings {
            if !is_container_port(&binding.key) {
                let message = format!("{:?} is not a port of a container, such as `8883/tcp`", binding.key);
                self.report(&rules::INVALID_PORT, binding.key_span, message);
            }
            self.port_binding(binding);
        }
        let network = host.member_any_case("NetworkMode").and_then(|mode| mode.value.text().map(|text| (mode, text)));
        if let Some((mode, _)) = network.filter(|(_, text)| *text == "host" && !bindings.is_empty()) {
            let message = "port bindings do nothing in the network of the host, where every port is open anyway";
            let found = Diagnostic::new(&rules::PORTS_ON_HOST_NETWORK, self.place(member.key_span), message);
            let related = self.place(mode.value.span);
            self.subject.add(found.related(related, "the network is chosen here"));
        }
    }

    fn port_binding(&mut self, binding: &Member) {
        if binding.value.is_null() {
            return;
        }
        let Some(elements) = binding.value.elements() else {
            return self.wrong_type(binding, "an array of objects with `HostPort`");
        };
        for element in elements {
            if element.members().is_none() {
                let message = format!("a binding of `{}` is {}, not an object", binding.key, element.kind_name());
                self.report(&rules::OPTION_TYPE, element.span, message);
                continue;
            }
            let Some(port) = element.member_any_case("HostPort") else { continue };
            let text = match &port.value.kind {
                Kind::String(text) | Kind::Number(text) => text.clone(),
                _ => {
                    self.wrong_type(port, "a string");
                    continue;
                }
            };
            if !text.is_empty() && !is_open(&text) && super::ports::host_ports(&text).is_none() {
                let message = format!("{text:?} is not a port from 1 to 65535, nor a range of ports");
                self.report(&rules::INVALID_PORT, port.value.span, message);
            }
        }
    }

    fn binds(&mut self, host: &Node) {
        for (text, span) in self.strings(host, "Binds") {
            if is_open(text) || is_windows_path(text) {
                continue;
            }
            let parts: Vec<&str> = text.split(':').collect();
            let problem = match parts[..] {
                [source, target] | [source, target, _] => bind_problem(source, target),
                _ => Some("a bind is `SOURCE:TARGET` or `SOURCE:TARGET:OPTIONS`".to_owned()),
            };
            if let Some(problem) = problem {
                self.report(&rules::INVALID_BIND, span, format!("{text:?} cannot be mounted: {problem}"));
            }
            self.engine_socket(parts[0], span);
        }
    }

    fn mounts(&mut self, host: &Node) {
        let mounts = host.member_any_case("Mounts").and_then(|member| member.value.elements());
        for mount in mounts.unwrap_or_default() {
            if let Some(source) = mount.member_any_case("Source")
                && let Some(text) = source.value.text()
            {
                self.engine_socket(text, source.value.span);
            }
        }
    }

    fn engine_socket(&mut self, source: &str, span: Span) {
        if ENGINE_SOCKETS.contains(&source) {
            let message = "the container gets the socket of the container engine, and with it the whole machine";
            self.report(&rules::ENGINE_SOCKET, span, message);
        }
    }

    fn privileged(&mut self, host: &Node) {
        let Some(member) = host.member_any_case("Privileged") else { return };
        match &member.value.kind {
            Kind::Bool(true) => {
                let message = "a privileged container may do everything on the machine";
                self.report(&rules::PRIVILEGED, member.key_span, message);
            }
            Kind::Bool(false) | Kind::Null => {}
            // The agent turns these texts into the values they spell.
            Kind::String(text) if is_open(text) || text.eq_ignore_ascii_case("false") => {}
            Kind::String(text) if text.eq_ignore_ascii_case("true") => {
                let message = "a privileged container may do everything on the machine";
                self.report(&rules::PRIVILEGED, member.key_span, message);
            }
            _ => self.wrong_type(member, "a boolean"),
        }
    }
}

fn bind_problem(source: &str, target: &str) -> Option<String> {
    if !target.starts_with('/') {
        return Some(format!("the path in the container, {target:?}, does not begin with `/`"));
    }
    let is_volume = source.starts_with(|c: char| c.is_ascii_alphanumeric())
        && source.len() > 1
        && source.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    (!source.starts_with('/') && !is_volume)
        .then(|| format!("the source {source:?} is neither a path that begins with `/` nor the name of a volume"))
}

/// `C:\…`, or a pipe.
fn is_windows_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.contains('\\')
        || text.starts_with("//")
        || (bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':')
}

/// `8883`, `8883/tcp`, or a range.
fn is_container_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    is_open(text)
        || (["tcp", "udp", "sctp"].iter().any(|known| known.eq_ignore_ascii_case(protocol))
            && super::ports::host_ports(ports).is_some())
}
