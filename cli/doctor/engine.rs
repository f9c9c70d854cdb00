//! The container engine: where it is, whether this user may use it, and whether it is new enough.

use std::path::{Path, PathBuf};

use edgectl_simulator::runtime::docker::engine::EngineError;

use super::ask::{dotted, version};
use super::check::{Check, Finding, Scope};
use super::patient::Patient;

/// The oldest engine that will do.
const OLDEST: [u32; 2] = [20, 10];
/// The oldest podman whose socket speaks that engine's interface.
const OLDEST_PODMAN: [u32; 2] = [4, 0];

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC101", title: "DOCKER_HOST names an engine", scope: Scope::Machine, examine: host },
    Check { code: "DOC102", title: "a container engine can be used", scope: Scope::Machine, examine: usable },
    Check { code: "DOC103", title: "the engine is 20.10 or later", scope: Scope::Machine, examine: age },
    Check { code: "DOC104", title: "the socket of podman", scope: Scope::Machine, examine: podman },
    Check { code: "DOC105", title: "the engine runs on this machine", scope: Scope::Machine, examine: local },
];

fn host(patient: &Patient<'_>) -> Finding {
    match (patient.engine_host(), &patient.settings.engine_host) {
        (Ok(host), Some(_)) => Finding::ok(format!("DOCKER_HOST is {host}")),
        (Ok(host), None) => Finding::ok(format!("DOCKER_HOST is not set: {host} it is")),
        (Err(error), _) => Finding::error(error.to_string())
            .cause("`edgectl sim up` refuses to start, whether containers are needed or not.")
            .mend("unset DOCKER_HOST"),
    }
}

fn usable(patient: &Patient<'_>) -> Finding {
    let error = match patient.engine() {
        Ok(engine) => {
            let version = engine.version().unwrap_or("of unknown version");
            return Finding::ok(format!("{} {version}", engine.product()));
        }
        Err(EngineError::Host(_)) => return Finding::skipped("DOCKER_HOST cannot be read"),
        Err(error) => error,
    };
    let needed = patient.needs_engine();
    let finding = Finding::error_if(needed.is_some(), error.to_string());
    let finding = match needed {
        Some(why) => finding.cause(format!("It is needed: {why}.")),
        None => finding.cause("Modules that are built here, or built in, run without one."),
    };
    match error {
        EngineError::Absent(_) => finding.mend("sudo apt-get install docker.io"),
        EngineError::NotRunning(_) | EngineError::Lost { .. } => finding.mend("sudo systemctl start docker"),
        EngineError::Denied { group: Some(group), .. } if group != "root" => {
            finding.mend(format!("sudo usermod -aG {group} $USER, and log in again"))
        }
        EngineError::Denied { path, .. } => finding
            .mend(format!("sudo chgrp docker {} && sudo usermod -aG docker $USER, and log in again", path.display())),
        _ => finding,
    }
}

fn age(patient: &Patient<'_>) -> Finding {
    let Ok(engine) = patient.engine() else { return Finding::skipped("there is no engine to ask") };
    let is_podman = engine.product().to_ascii_lowercase().contains("podman");
    let oldest = if is_podman { OLDEST_PODMAN } else { OLDEST };
    let Some(found) = engine.version().and_then(version) else {
        return Finding::note("the engine does not say its version");
    };
    let said = format!("{} {}", engine.product(), dotted(&found));
    if found.as_slice() >= oldest.as_slice() {
        return Finding::ok(said);
    }
    Finding::error_if(patient.needs_engine().is_some(), format!("{said} is older than {}", dotted(&oldest)))
        .cause(
            "Create requests of a deployment may hold what it does not know, and containers do not find the edge hub.",
        )
        .mend("sudo apt-get update && sudo apt-get install --only-upgrade docker.io")
}

fn podman(patient: &Patient<'_>) -> Finding {
    let own = patient.variable("XDG_RUNTIME_DIR").map(|folder| Path::new(folder).join("podman/podman.sock"));
    let sockets: Vec<PathBuf> = own.into_iter().chain([PathBuf::from("/run/podman/podman.sock")]).collect();
    let found = sockets.iter().find(|socket| socket.exists());
    match (found, patient.engine()) {
        (Some(socket), Err(_)) => {
            Finding::warning(format!("podman listens at {}, and edgectl looks elsewhere", socket.display()))
                .cause("Its socket speaks Docker's interface, and serves as the engine when DOCKER_HOST names it.")
                .mend(format!("export DOCKER_HOST=unix://{}", socket.display()))
        }
        (Some(socket), Ok(_)) => Finding::ok(format!("podman listens at {}", socket.display())),
        (None, _) if patient.program("podman").is_some() => Finding::note("podman is installed, and its socket is off")
            .cause("It serves as the engine through its socket.")
            .mend("systemctl --user enable --now podman.socket"),
        (None, _) => Finding::skipped("podman is not installed"),
    }
}

fn local(patient: &Patient<'_>) -> Finding {
    match patient.engine() {
        Err(_) => Finding::skipped("there is no engine to ask"),
        Ok(engine) if engine.is_local() => Finding::ok("it is reached by a socket of this machine"),
        Ok(_) => Finding::warning("the engine is reached over the network")
            .cause("Containers on another machine do not reach the simulated device, which listens here.")
            .mend("unset DOCKER_HOST, to use the engine of this machine"),
    }
}
