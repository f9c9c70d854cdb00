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
    refused(run(&["no-such-command"]).assert(), 6, "no-such-command");
    refused(solution.edgectl(&["exec", "nobody", "--", "env"]).assert(), 1, "nobody");
    solution.edgectl(&["exec", "filter"]).assert().code(2);
    // The module went on undisturbed.
    assert_eq!(solution.json(&["inspect", "filter"])["restarts"], 0);
}
