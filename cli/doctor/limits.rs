//! Limits of the machine: descriptors, watches, memory, and its clock.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};

use super::check::{Check, Finding, Scope};
use super::patient::Patient;

/// A device with a few modules and clients has far fewer open.
const FEW_DESCRIPTORS: u64 = 1024;
/// Below this nothing runs but the device itself.
const HARDLY_ANY_DESCRIPTORS: u64 = 128;
/// What desktops and module runtimes that watch files use up quickly.
const FEW_INSTANCES: u64 = 128;
const FEW_WATCHES: u64 = 8192;
/// Mebibytes with which a device and a few modules run well, and with which they do not run at all.
const LITTLE_MEMORY: u64 = 512;
const HARDLY_ANY_MEMORY: u64 = 64;
/// This program did not exist before: 2025-01-01.
const EARLIEST_SECOND: i64 = 1_735_689_600;
/// Clocks of file servers may be ahead by so much, in seconds.
const FILE_TOLERANCE: u64 = 120;

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC301", title: "enough files may be open", scope: Scope::Machine, examine: descriptors },
    Check { code: "DOC302", title: "enough files may be watched", scope: Scope::Machine, examine: watches },
    Check { code: "DOC303", title: "enough memory is free", scope: Scope::Machine, examine: memory },
    Check { code: "DOC304", title: "the clock is right", scope: Scope::Machine, examine: clock },
    Check { code: "DOC305", title: "the operating system is Linux", scope: Scope::Machine, examine: system },
];

fn descriptors(_: &Patient<'_>) -> Finding {
    let limit = getrlimit(Resource::Nofile);
    match limit.current {
        None => Finding::ok("without limit"),
        Some(number) if number >= FEW_DESCRIPTORS => Finding::ok(format!("{number}")),
        Some(number) => {
            let wanted = limit.maximum.map_or(4096, |most| most.min(4096));
            let found = format!("only {number}");
            let finding = if number < HARDLY_ANY_DESCRIPTORS { Finding::error(found) } else { Finding::warning(found) };
            finding
                .cause("Each connection, module and log of a device takes one or more; connections are refused when they run out.")
                .mend(format!("ulimit -n {wanted}"))
        }
    }
}

fn watches(_: &Patient<'_>) -> Finding {
    let read = |name: &str| -> Option<u64> {
        fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).ok()?.trim().parse().ok()
    };
    let (Some(instances), Some(watches)) = (read("max_user_instances"), read("max_user_watches")) else {
        return Finding::skipped("this kernel does not say");
    };
    let found = format!("{instances} instances, {watches} watches");
    if instances >= FEW_INSTANCES && watches >= FEW_WATCHES {
        return Finding::ok(found);
    }
    Finding::warning(format!("only {found}"))
        .cause("Modules and tools that watch files fail with `no space left on device` or `too many open files`.")
        .mend("sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=65536")
}

fn memory(_: &Patient<'_>) -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(mebibytes) = available_mebibytes(&text) else { return Finding::skipped("this kernel does not say") };
    let found = format!("{mebibytes} MiB are free");
    let finding = match mebibytes {
        LITTLE_MEMORY.. => return Finding::ok(found),
        HARDLY_ANY_MEMORY.. => Finding::warning(format!("only {found}")),
        _ => Finding::error(format!("only {found}")),
    };
    finding
        .cause("The kernel ends modules when memory runs out.")
        .mend("ps aux --sort=-rss | head, and end what is not needed")
}

fn available_mebibytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

fn clock(patient: &Patient<'_>) -> Finding {
    let mend = "sudo timedatectl set-ntp true, or `sudo date -s` with the right time";
    let now = patient.now;
    if now.as_second() < EARLIEST_SECOND {
        return Finding::error(format!("it says {now}"))
            .cause("Certificates and tokens hold for a time, and clients refuse them outside it.")
            .mend(mend);
    }
    let state = patient.state();
    let known =
        patient.solution.iter().flat_map(|solution| [solution.template.clone(), solution.root.join("edgectl.yaml")]);
    let kept =
        state.iter().flat_map(|state| [state.endpoints(), state.service(), state.authority().join("root-ca.pem")]);
    let ahead = known.chain(kept).find(|path| {
        let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
        let ahead = changed.ok().and_then(|changed| changed.duration_since(SystemTime::from(now)).ok());
        ahead.is_some_and(|ahead| ahead.as_secs() > FILE_TOLERANCE)
    });
    match ahead {
        None => Finding::ok(shown(now)),
        Some(path) => Finding::warning(format!("it says {}, and {} was written later", shown(now), path.display()))
            .cause("The clock was ahead then or is behind now; certificates and tokens made at one time do not hold at the other.")
            .mend(mend),
    }
}

fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn system(_: &Patient<'_>) -> Finding {
    let found = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
    if std::env::consts::OS == "linux" {
        return Finding::ok(found);
    }
    Finding::warning(found)
        .cause("Devices have loopback addresses of their own, which only Linux has without set-up.")
        .mend("run edgectl on Linux, or in a virtual machine with it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_table() {
        assert_eq!(available_mebibytes("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2));
        assert_eq!(available_mebibytes(""), None);
    }
}
