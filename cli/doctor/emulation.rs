//! What the kernel does for containers: control groups, and programs of other architectures.

use std::path::Path;

use super::check::{Check, Finding, Scope, listed};
use super::patient::Patient;

/// The controllers with which an engine keeps a module within its limits.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC106", title: "control groups are version 2", scope: Scope::Machine, examine: version_two },
    Check {
        code: "DOC107",
        title: "control groups limit an ordinary user's containers",
        scope: Scope::Machine,
        examine: delegated,
    },
    Check {
        code: "DOC108",
        title: "images of the solution's platform run here",
        scope: Scope::Machine,
        examine: foreign,
    },
];

fn version_two(_: &Patient<'_>) -> Finding {
    let Ok(text) = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        return Finding::note("control groups are version 1, or absent")
            .cause("Engines of today expect version 2; limits of memory and processors may not hold.")
            .mend("add systemd.unified_cgroup_hierarchy=1 to the kernel's command line, and start the machine again");
    };
    let missing = missing(&text);
    if missing.is_empty() {
        return Finding::ok("version 2, with cpu, memory and pids");
    }
    Finding::note(format!("version 2 without {}", listed(&missing)))
        .cause("Limits of that kind in a module's create options have no effect.")
        .mend("sudo sh -c 'echo +cpu +memory +pids > /sys/fs/cgroup/cgroup.subtree_control'")
}

fn delegated(_: &Patient<'_>) -> Finding {
    let user = rustix::process::getuid();
    if user.is_root() {
        return Finding::skipped("this is root, whose containers have all controllers");
    }
    let id = user.as_raw();
    let slice = format!("/sys/fs/cgroup/user.slice/user-{id}.slice/user@{id}.service/cgroup.controllers");
    let Ok(text) = std::fs::read_to_string(slice) else {
        return Finding::skipped("no user session of systemd");
    };
    let missing = missing(&text);
    if missing.is_empty() {
        return Finding::ok("cpu, memory and pids are delegated to this user");
    }
    Finding::note(format!("{} is not delegated to this user", listed(&missing)))
        .cause("An engine that runs without root cannot limit its containers that way.")
        .mend(
            "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | \
             sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload",
        )
}

/// The controllers that a list of the kernel lacks.
fn missing(controllers: &str) -> Vec<&'static str> {
    let has = |name: &str| controllers.split_whitespace().any(|word| word == name);
    CONTROLLERS.into_iter().filter(|name| !has(name)).collect()
}

fn foreign(patient: &Patient<'_>) -> Finding {
    let platform = match patient.template() {
        Some(Ok(template)) => template.platform.clone(),
        _ => patient.variable("DEFAULT_PLATFORM").unwrap_or("amd64").to_owned(),
    };
    let Some(machine) = machine_of(&platform) else {
        return Finding::skipped(format!("the platform {platform} names no architecture"));
    };
    if machine == std::env::consts::ARCH {
        return Finding::ok(format!("{platform} is this machine's own"));
    }
    if Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{machine}")).exists() {
        return Finding::ok(format!("the kernel hands programs for {machine} to QEMU"));
    }
    Finding::error_if(
        patient.needs_engine().is_some(),
        format!("the platform is {platform}, and this machine runs {} alone", std::env::consts::ARCH),
    )
    .cause(format!("Containers for {machine} end with `exec format error`; modules that run as processes do not mind."))
    .mend("sudo apt-get install qemu-user-static binfmt-support")
}

/// The kernel's name of a platform's architecture.
pub fn machine_of(platform: &str) -> Option<&'static str> {
    match platform.split('.').next().unwrap_or_default() {
        "amd64" => Some("x86_64"),
        "arm64" | "arm64v8" => Some("aarch64"),
        "arm" | "arm32v7" => Some("arm"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_delegated_is_named() {
        assert_eq!(missing("cpuset cpu io memory pids\n"), Vec::<&str>::new());
        assert_eq!(missing("memory pids"), ["cpu"]);
        assert_eq!(missing("cpuset"), CONTROLLERS);
    }

    #[test]
    fn platforms_name_machines() {
        assert_eq!(machine_of("arm64v8.debug"), Some("aarch64"));
        assert_eq!(machine_of("arm32v7"), Some("arm"));
        assert_eq!(machine_of("my-board"), None);
    }
}
