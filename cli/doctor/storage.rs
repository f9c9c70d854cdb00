//! The file system that state lies on.

use std::fs;
use std::path::Path;

use rustix::fs::{statfs, statvfs};

use super::check::{Check, Finding, Scope};
use super::patient::Patient;
use super::user::is_writable;

/// Mebibytes that messages and logs of a device fill in hours, and those that are gone at once.
const LITTLE_SPACE: u64 = 1024;
const HARDLY_ANY_SPACE: u64 = 64;
/// Files that a virtual environment of Python has.
const FEW_FILES: u64 = 10_000;

/// File systems on which locks, sockets or syncs do not keep their promises: the kernel's number and their name.
const REMOTE: [(u32, &str); 7] = [
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9P"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
];

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC608", title: "the disk has room", scope: Scope::Machine, examine: room },
    Check { code: "DOC609", title: "state lies on a local disk", scope: Scope::Machine, examine: local },
    Check { code: "DOC610", title: "state can be written", scope: Scope::Solution, examine: writable },
    Check { code: "DOC611", title: "programs may run from the state", scope: Scope::Solution, examine: runnable },
];

fn room(patient: &Patient<'_>) -> Finding {
    let place = patient.state_place();
    let Ok(facts) = statvfs(&place) else { return Finding::skipped("the system does not say") };
    let mebibytes = facts.f_bavail.saturating_mul(facts.f_frsize) / (1024 * 1024);
    let mend = format!("du -xh {} | sort -h | tail, and remove what is not needed", place.display());
    // File systems without a fixed number of files say zero of both.
    if facts.f_files > 0 && facts.f_favail < FEW_FILES {
        return Finding::warning(format!("room for {} files alone at {}", facts.f_favail, place.display())).mend(mend);
    }
    let found = format!("{mebibytes} MiB are free at {}", place.display());
    match mebibytes {
        LITTLE_SPACE.. => Finding::ok(found),
        HARDLY_ANY_SPACE.. => {
            Finding::warning(format!("only {found}")).cause("Messages that wait, and logs, need room.").mend(mend)
        }
        _ => Finding::error(format!("only {found}"))
            .cause("The edge hub refuses messages that it cannot keep.")
            .mend(mend),
    }
}

fn local(patient: &Patient<'_>) -> Finding {
    let place = patient.state_place();
    let Ok(facts) = statfs(&place) else { return Finding::skipped("the system does not say") };
    match remote(u32::try_from(facts.f_type & 0xFFFF_FFFF).unwrap_or_default()) {
        None => Finding::ok(place.display().to_string()),
        Some(name) => Finding::warning(format!("{} is on {name}", place.display()))
            .cause(
                "Locks, sockets and syncs may not work there: two devices may run on one state, and messages be lost.",
            )
            .mend("keep the solution on a disk of this machine"),
    }
}

fn remote(number: u32) -> Option<&'static str> {
    REMOTE.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

fn writable(patient: &Patient<'_>) -> Finding {
    let place = patient.state_place();
    if is_writable(&place) {
        return Finding::ok(place.display().to_string());
    }
    Finding::error(format!("this user cannot write to {}", place.display()))
        .cause("The state of devices and of builds lies there.")
        .mend(format!("sudo chown -R $(id -u) {}", place.display()))
}

fn runnable(patient: &Patient<'_>) -> Finding {
    let built = patient.solution.as_ref().map(|solution| solution.state().join("build"));
    let Some(built) = built.filter(|folder| folder.is_dir()) else { return Finding::skipped("nothing was built yet") };
    let Some(options) = mount_options(&built) else { return Finding::skipped("the system does not say") };
    if !options.split(',').any(|option| option == "noexec") {
        return Finding::ok("the file system lets them");
    }
    Finding::error(format!("{} is mounted with noexec", built.display()))
        .cause("Modules that are built here cannot be started.")
        .mend("keep the solution on another file system, or mount this one with exec")
}

/// The options of the mount that a path lies on.
fn mount_options(path: &Path) -> Option<String> {
    let text = fs::read_to_string("/proc/self/mounts").ok()?;
    let path = path.canonicalize().ok()?;
    let mounts = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        Some((fields.get(1)?.replace("\\040", " "), (*fields.get(3)?).to_owned()))
    });
    let around = mounts.filter(|(point, _)| path.starts_with(point));
    around.max_by_key(|(point, _)| point.len()).map(|(_, options)| options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!(remote(0x6969), Some("NFS"));
        assert_eq!(remote(0xEF53), None);
    }

    #[test]
    fn the_mount_around_a_path_is_the_nearest() {
        assert!(mount_options(Path::new("/proc/self")).is_some());
    }
}
