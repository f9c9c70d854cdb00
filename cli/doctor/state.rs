//! What the simulated device keeps: private files, sockets, certificates, and what a run that did not end well left.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use edgectl_simulator::authority::root_validity;
use edgectl_simulator::state::{Endpoints, ServiceAccess, read_json};

use super::check::{Check, Finding, Scope, listed};
use super::fix::{Fix, is_open_to_others};
use super::patient::Patient;

/// What clients trust, which everybody may read.
const PUBLIC_CERTIFICATES: &str = "trust-bundle.pem";
/// Bytes that the address of a Unix socket holds, the last one being zero.
const SOCKET_ADDRESS_BYTES: usize = 108;
/// Bytes of the longest name of a socket of ours, with the separator before it.
const SOCKET_NAME_BYTES: usize = 33;
/// Days before its end at which a certificate is spoken of.
const SOON_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC601", title: "state is the user's alone", scope: Scope::Solution, examine: private },
    Check {
        code: "DOC602",
        title: "nothing is left of a device that no longer runs",
        scope: Scope::Solution,
        examine: stale,
    },
    Check { code: "DOC603", title: "a running device answers", scope: Scope::Solution, examine: answers },
    Check { code: "DOC604", title: "paths of sockets are short enough", scope: Scope::Solution, examine: sockets },
    Check { code: "DOC605", title: "files of the state are whole", scope: Scope::Solution, examine: whole },
    Check { code: "DOC606", title: "the development certificates hold", scope: Scope::Solution, examine: certificates },
    Check { code: "DOC607", title: "no containers are left", scope: Scope::Solution, examine: containers },
];

const NO_STATE: &str = "no device was started here yet";

/// Directories of the state and files with keys that others may read, or that are another user's.
fn private(patient: &Patient<'_>) -> Finding {
    let (Some(state), Some(solution)) = (patient.state(), &patient.solution) else { return Finding::skipped(NO_STATE) };
    let root = state.root().to_owned();
    let mut paths = vec![solution.state(), root, state.authority(), state.cloud(), state.edge(), state.modules()];
    let keys = fs::read_dir(state.authority()).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.extend(keys.filter(|path| !path.ends_with(PUBLIC_CERTIFICATES)));
    paths.push(state.service());
    let metadata = |path: &PathBuf| fs::symlink_metadata(path).ok();
    let user = rustix::process::geteuid().as_raw();
    let foreign = paths.iter().find(|path| metadata(path).is_some_and(|metadata| metadata.uid() != user));
    if let Some(path) = foreign.filter(|_| user != 0) {
        return Finding::error(format!("{} belongs to another user", path.display()))
            .cause("A device was started here by somebody else, with sudo perhaps.")
            .mend(format!("sudo chown -R $(id -u) {}", solution.state().display()));
    }
    paths.retain(|path| metadata(path).is_some_and(|metadata| is_open_to_others(metadata.permissions().mode())));
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return Finding::ok("directories 0700, files 0600");
    }
    let names: Vec<String> =
        paths.iter().map(|path| path.strip_prefix(&solution.root).unwrap_or(path).display().to_string()).collect();
    Finding::warning(format!("others may read {}", listed(&names)))
        .cause("Keys of the device and of its hub are in it.")
        .mend(format!("chmod -R go= {}", solution.state().display()))
        .fix(Fix::MakePrivate(paths))
}

fn stale(patient: &Patient<'_>) -> Finding {
    let Some(state) = patient.state() else { return Finding::skipped(NO_STATE) };
    if patient.is_running() {
        return Finding::ok("the device runs");
    }
    let left = state.sockets().join("control");
    if !left.exists() {
        return Finding::ok("the device was stopped in good order");
    }
    let by = patient.process().map_or_else(String::new, |process| format!(", of process {process}"));
    Finding::note(format!("{} is left{by}", left.display()))
        .cause("The device was killed. The next `edgectl sim up` ends what its modules left and goes on where it was.")
        .mend("edgectl doctor --fix DOC602, or edgectl sim up -d")
        .fix(Fix::RemoveSockets(state))
}

fn answers(patient: &Patient<'_>) -> Finding {
    let Some(state) = patient.state().filter(|_| patient.is_running()) else {
        return Finding::skipped("no device runs");
    };
    match UnixStream::connect(state.control_socket()) {
        Ok(_) => Finding::ok(patient.process().map_or_else(String::new, |process| format!("process {process}"))),
        Err(error) => {
            let kill =
                patient.process().map_or_else(|| "end its process".to_owned(), |process| format!("kill {process}"));
            Finding::error(format!("it holds its state and does not listen to its control socket: {error}"))
                .cause("It may be starting or stopping; if this stays so, it hangs.")
                .mend(kill)
        }
    }
}

fn sockets(patient: &Patient<'_>) -> Finding {
    let Some(solution) = &patient.solution else { return Finding::skipped(NO_STATE) };
    let state = solution.device_state();
    let (inside, used) = (state.root().join("run"), state.sockets());
    let length = |path: &Path| path.as_os_str().len() + SOCKET_NAME_BYTES;
    if length(&used) >= SOCKET_ADDRESS_BYTES {
        return Finding::error(format!("{} has {} bytes with a name behind it", used.display(), length(&used)))
            .mend("move the solution to a directory with a shorter path");
    }
    if let Ok(metadata) = fs::symlink_metadata(&used)
        && (!metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw())
    {
        return Finding::error(format!("{} is not a directory of this user", used.display()))
            .cause("Somebody took its name; no device can start with sockets that others may replace.")
            .mend(format!("sudo rm -r {}", used.display()));
    }
    if used == inside {
        return Finding::ok(format!("at most {} of {SOCKET_ADDRESS_BYTES} bytes", length(&used)));
    }
    Finding::note(format!("the solution's path is too long for sockets: they lie in {}", used.display()))
        .cause(
            "A socket's address holds 108 bytes. Programs that clean /tmp up may remove them under a running device.",
        )
        .mend("move the solution to a directory with a shorter path")
}

fn whole(patient: &Patient<'_>) -> Finding {
    let Some(state) = patient.state() else { return Finding::skipped(NO_STATE) };
    if let Err(error) = read_json::<Endpoints>(&state.endpoints()) {
        let finding = Finding::error(error.to_string())
            .cause("Commands do not find the device; the file is written at each start.")
            .mend(format!("rm {}", state.endpoints().display()));
        return if patient.is_running() { finding } else { finding.fix(Fix::Remove(state.endpoints())) };
    }
    if let Err(error) = read_json::<ServiceAccess>(&state.service()) {
        return Finding::error(error.to_string())
            .cause("The device does not start.")
            .mend("edgectl sim down; rm -r .edgectl/device");
    }
    Finding::ok("endpoints.json and service.json")
}

fn certificates(patient: &Patient<'_>) -> Finding {
    let Some(state) = patient.state() else { return Finding::skipped(NO_STATE) };
    // Devices below another one use its authority.
    let endpoints = read_json::<Endpoints>(&state.endpoints()).ok().flatten();
    let folder = endpoints.as_ref().map_or_else(|| state.authority(), |endpoints| endpoints.authority().to_owned());
    let mend = format!("edgectl sim down; rm -r {}", folder.display());
    let (from, until) = match root_validity(&folder) {
        Ok(None) => return Finding::skipped("there are none yet"),
        Ok(Some(validity)) => validity,
        Err(error) => {
            return Finding::error(crate::error::chain(&error))
                .cause("The device does not start, and clients cannot tell what to trust.")
                .mend(mend);
        }
    };
    if let Err(error) = fs::read(folder.join(PUBLIC_CERTIFICATES)) {
        return Finding::error(format!("{PUBLIC_CERTIFICATES} cannot be read: {error}"))
            .cause("Clients outside the device trust what stands in it.")
            .mend("edgectl sim up -d writes it anew");
    }
    let day = |time: jiff::Timestamp| time.strftime("%Y-%m-%d").to_string();
    if patient.now < from {
        return Finding::error(format!("they hold from {}, which is to come", day(from)))
            .cause("The clock was ahead when they were made, or is behind now.")
            .mend(mend);
    }
    let days = (until.as_second() - patient.now.as_second()) / DAY_SECONDS;
    if days < 0 {
        return Finding::error(format!("they ended on {}", day(until)))
            .cause("No client connects any more.")
            .mend(mend);
    }
    if days < SOON_DAYS {
        return Finding::warning(format!("they end on {}", day(until))).mend(mend);
    }
    Finding::ok(format!("until {}", day(until)))
}

fn containers(patient: &Patient<'_>) -> Finding {
    let Some(state) = patient.state() else { return Finding::skipped(NO_STATE) };
    if patient.is_running() || !state.engine().exists() {
        return Finding::ok("none");
    }
    let host = fs::read_to_string(state.engine()).unwrap_or_default();
    Finding::note(format!("containers may be left on {}", host.trim()))
        .cause("The device was killed, or the engine was gone when it stopped. The next start removes them.")
        .mend("edgectl sim up -d && edgectl sim down")
}
