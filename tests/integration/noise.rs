//! A module that prints more than anybody can keep.

use std::fs;

use serde_json::json;

use crate::device::{Solution, build_image, module, wait_until};

/// A gigabyte in long lines, then short ones without end to both streams.
const PROGRAM: &str = r#"
import os
print("begins", flush=True)
os.execv("/bin/sh", ["sh", "-c", """
yes "$(head -c 4000 /dev/zero | tr '\\0' x)" | head -c 1073741824
echo
echo all of it
yes & yes >&2
"""])
"#;
/// Two files of a log, and what may be appended last.
const MOST_ON_DISK: u64 = 2 * 9 * 1024 * 1024;
/// Far more than a device needs, and far less than the module prints.
const MOST_IN_MEMORY_KIB: u64 = 256 * 1024;

#[test]
#[cfg(target_os = "linux")]
fn a_module_that_prints_a_gigabyte_fills_neither_disk_nor_memory_and_holds_nobody_up() {
    let solution = Solution::with(json!({ "noisy": module("${MODULES.noisy}") }));
    build_image(&solution.root(), "noisy", PROGRAM);
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let prints = |text: &str| {
        let output = solution.edgectl(&["logs", "noisy", "--filter", text]).assert().success().get_output().clone();
        !output.stdout.is_empty()
    };
    // The long lines push out what came before them, and the short ones what came before those.
    wait_until("the first lines are gone", || !prints("^begins$"));
    wait_until("short lines are printed", || {
        let last = solution.edgectl(&["logs", "noisy", "--tail", "1"]).assert().success();
        last.get_output().stdout == b"y\n"
    });
    let state = solution.root().join(".edgectl/device");
    let logs = fs::read_dir(state.join("modules")).unwrap().flatten();
    let bytes: u64 = logs.map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(bytes < MOST_ON_DISK, "{bytes} bytes on the disk");
    let device = fs::read_to_string(state.join("lock")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", device.trim())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < MOST_IN_MEMORY_KIB, "{kib} KiB in memory");
    solution.edgectl(&["restart", "noisy"]).assert().success();
    assert_eq!(solution.json(&["status", "noisy"])["modules"][0]["status"], "running");
    solution.edgectl(&["sim", "down"]).assert().success();
}
