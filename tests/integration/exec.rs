//! Commands that are run where a module runs.

use crate::binary::refused;
use crate::device::Solution;

#[test]
fn a_command_gets_the_environment_and_the_folder_of_a_process_and_its_status_is_ours() {
    let solution = Solution::new();
    refused(solution.edgectl(&["exec", "filter", "--", "env"]).assert(), 1, "no simulated device is running");
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let run = |arguments: &[&str]| {
        let mut command = solution.edgectl(&["exec", "filter", "--"]);
        command.args(arguments).env("ONLY_OURS", "1");
        command
    };
    let output = run(&["env"]).assert().success().get_output().stdout.clone();
    let env = String::from_utf8(output).unwrap();
    assert!(env.lines().any(|line| line == "IOTEDGE_MODULEID=filter"), "{env}");
    assert!(env.contains("IOTEDGE_WORKLOADURI=unix://") && env.contains("MessageDelay=") && !env.contains("ONLY_OURS"));
    run(&["pwd"]).assert().success().stdout("/\n");
    run(&["sh", "-c", "cat; echo bad >&2; exit 37"]).write_stdin("in").assert().code(37).stdout("in").stderr("bad\n");
    refused(run(&["no-such-command"]).assert(), 127, "no-such-command");
    refused(solution.edgectl(&["exec", "nobody", "--", "env"]).assert(), 1, "nobody");
    solution.edgectl(&["exec", "filter"]).assert().code(2);
    // The two hyphens may be left away, as with other tools.
    let command = ["exec", "filter", "sh", "-c", "exit 3"];
    solution.edgectl(&command).assert().code(3);
    // Behind a terminal the command has it too.
    let terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    for (redirected, expected) in [("", 0), ("</dev/null", 1)] {
        let script = format!("exec \"$0\" exec filter -- test -t 0 {redirected}");
        let mut command = std::process::Command::new("python3");
        command.args(["-c", terminal, "sh", "-c", &script]).arg(assert_cmd::cargo::cargo_bin!("edgectl"));
        let status = command.current_dir(solution.root()).stdin(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(expected), "{redirected}");
    }
    // The module went on undisturbed.
    assert_eq!(solution.json(&["inspect", "filter"])["restarts"], 0);
}

#[test]
fn an_unknown_module_brings_the_one_that_may_be_meant() {
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    let send = ["message", "send", "Filtre", "in", "1"];
    for command in [
        &["status", "Filtre"][..],
        &["inspect", "Filtre"],
        &["logs", "filter", "Filtre"],
        &["restart", "filter", "Filtre"],
        &["exec", "Filtre", "env"],
        &send,
    ] {
        let assert = solution.edgectl(command).assert();
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains("Did you mean `filter`?"), "{command:?}: {said}");
        refused(assert, 1, "the device has no module Filtre");
    }
    let assert = solution.edgectl(&["logs", "edgeHub"]).assert();
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("device.log"));
    refused(assert, 1, "no module edgeHub");
    // A metric that has no value yet is none that is unknown.
    let assert = solution.edgectl(&["metrics", "edgehub_queue_lenght"]).assert().success();
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("Did you mean `edgehub_queue_length`?"));
    let status = solution.json(&["status", "filter"]);
    assert_eq!(status["modules"].as_array().unwrap().len(), 1);
}
