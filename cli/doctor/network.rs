//! Loopback addresses, the ports that the SDKs have fixed, and what stands between a client and them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use edgectl_simulator::address::listener_at;
use edgectl_simulator::ports::{AMQP_PORT, HTTPS_PORT, MQTT_PORT};

use super::check::{Check, Finding, Scope, listed};
use super::patient::Patient;

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check {
        code: "DOC201",
        title: "the device's loopback addresses can be used",
        scope: Scope::Machine,
        examine: loopback,
    },
    Check { code: "DOC202", title: "port 8883 (MQTT) is free", scope: Scope::Machine, examine: mqtt },
    Check { code: "DOC203", title: "port 5671 (AMQP) is free", scope: Scope::Machine, examine: amqp },
    Check { code: "DOC204", title: "port 443 (HTTPS) is free and allowed", scope: Scope::Machine, examine: https },
    Check { code: "DOC205", title: "no proxy stands before loopback addresses", scope: Scope::Machine, examine: proxy },
    Check { code: "DOC206", title: "localhost is 127.0.0.1", scope: Scope::Machine, examine: localhost },
];

fn addresses(patient: &Patient<'_>) -> [IpAddr; 2] {
    [patient.address().gateway(), patient.address().hub()]
}

fn loopback(patient: &Patient<'_>) -> Finding {
    let addresses = addresses(patient);
    let failed = addresses.iter().find_map(|ip| Some((ip, TcpListener::bind(SocketAddr::new(*ip, 0)).err()?)));
    match failed {
        None => Finding::ok(format!("{} and {}", addresses[0], addresses[1])),
        Some((ip, error)) => Finding::error(format!("{ip} cannot be listened at: {error}"))
            .cause(
                "Each simulated device has two addresses of 127.0.0.0/8, which Linux gives to the loopback interface.",
            )
            .mend("sudo ip link set lo up && sudo ip address add 127.0.0.1/8 dev lo"),
    }
}

fn mqtt(patient: &Patient<'_>) -> Finding {
    port(patient, MQTT_PORT)
}

fn amqp(patient: &Patient<'_>) -> Finding {
    port(patient, AMQP_PORT)
}

fn port(patient: &Patient<'_>, port: u16) -> Finding {
    if patient.is_running() {
        return Finding::ok(format!("the running device listens at {}:{port}", patient.address().gateway()));
    }
    let Some((address, error)) = addresses(patient).into_iter().find_map(|ip| busy(ip, port)) else {
        return Finding::ok(format!("free at {} and {}", addresses(patient)[0], addresses(patient)[1]));
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Finding::error(format!("{address} cannot be listened at: {error}"))
            .mend("edgectl sim up --address 127.0.N.1, with an address that this machine has");
    }
    let by = listener_at(address).unwrap_or_else(|| "another program".to_owned());
    let mut others = patient.address().and_following().skip(1);
    let is_free = |ip: IpAddr| busy(ip, port).is_none();
    match others.find(|pair| is_free(pair.gateway()) && is_free(pair.hub())) {
        Some(other) => Finding::warning(format!("{by} listens at {address}"))
            .cause(format!(
                "The device gets another address, {} for one, and connection strings change.",
                other.gateway()
            ))
            .mend(stop(&by)),
        None => Finding::error(format!("{by} listens at port {port} of all addresses"))
            .cause("No simulated device can start: the SDKs have this port fixed.")
            .mend(stop(&by)),
    }
}

/// The address, if it cannot be listened at, and why.
fn busy(ip: IpAddr, port: u16) -> Option<(SocketAddr, io::Error)> {
    let address = SocketAddr::new(ip, port);
    Some((address, TcpListener::bind(address).err()?))
}

/// How to stop who listens.
fn stop(by: &str) -> String {
    let process = by.rsplit_once("(process ").and_then(|(_, id)| id.strip_suffix(')'));
    process.map_or_else(|| "stop that program".to_owned(), |process| format!("kill {process}"))
}

fn https(patient: &Patient<'_>) -> Finding {
    let denied = addresses(patient).into_iter().filter_map(|ip| busy(ip, HTTPS_PORT));
    if denied.into_iter().any(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied) {
        return Finding::warning("an ordinary user may not listen at port 443")
            .cause(
                "Methods from module to module, MQTT in WebSockets, and messages over HTTPS are off at the edge hub.",
            )
            .mend("sudo sysctl net.ipv4.ip_unprivileged_port_start=443");
    }
    port(patient, HTTPS_PORT)
}

fn proxy(patient: &Patient<'_>) -> Finding {
    let both = |name: &str| {
        let lower = name.to_ascii_lowercase();
        patient.variable(name).or_else(|| patient.variable(&lower)).map(str::to_owned)
    };
    let set: Vec<&str> =
        ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].into_iter().filter(|name| both(name).is_some()).collect();
    if set.is_empty() {
        return Finding::ok("no proxy is set");
    }
    let excepted = both("NO_PROXY").unwrap_or_default();
    let gateway = patient.address().gateway();
    if excepts(&excepted, gateway) {
        return Finding::ok(format!("NO_PROXY excepts {gateway}"));
    }
    let more = if excepted.is_empty() { String::new() } else { format!("{excepted},") };
    Finding::warning(format!("{} is set, and NO_PROXY does not except {gateway}", listed(&set)))
        .cause("edgectl itself passes the proxy by; SDKs and other clients of the device send it what is meant for the device.")
        .mend(format!("export NO_PROXY={more}localhost,127.0.0.0/8,{gateway},{}", patient.address().hub()))
}

/// Whether a list of exceptions holds an address. Not every client knows networks, but those that the SDKs use do.
fn excepts(list: &str, ip: IpAddr) -> bool {
    let text = ip.to_string();
    list.split(',').map(str::trim).any(|entry| {
        let of_network = entry.strip_suffix("/8").is_some_and(|network| network.starts_with("127."));
        let of_prefix = entry.ends_with('.') && text.starts_with(entry) || entry == "127.*";
        entry == "*" || entry == text || of_network || of_prefix
    })
}

fn localhost(_: &Patient<'_>) -> Finding {
    let Ok(text) = std::fs::read_to_string("/etc/hosts") else {
        return Finding::note("/etc/hosts cannot be read").cause("Names are looked up elsewhere.");
    };
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let is_local = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("127.0.0.1") && words.any(|word| word == "localhost")
    };
    if lines.into_iter().any(is_local) {
        return Finding::ok("/etc/hosts says so");
    }
    Finding::warning("/etc/hosts does not say so")
        .cause("Clients that are told `localhost`, as for a registry at localhost:5000, ask the network for it.")
        .mend("echo '127.0.0.1 localhost' | sudo tee -a /etc/hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_hold_addresses_and_networks() {
        let ip = IpAddr::from([127, 0, 7, 1]);
        for list in ["*", "localhost, 127.0.7.1", "127.0.0.0/8", "127.", "127.0.0.1/8,x"] {
            assert!(excepts(list, ip), "{list}");
        }
        for list in ["", "localhost", "127.0.0.1", "10.0.0.0/8"] {
            assert!(!excepts(list, ip), "{list}");
        }
    }

    #[test]
    fn who_listens_can_be_stopped() {
        assert_eq!(stop("mosquitto (process 12)"), "kill 12");
        assert_eq!(stop("another program"), "stop that program");
    }
}
