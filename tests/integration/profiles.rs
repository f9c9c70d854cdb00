//! Devices that are like a machine: what it cannot run or give is refused.

use std::fs;

use serde_json::{Value, json};

use crate::binary::refused;
use crate::device::{Solution, module};

/// A solution whose module uses so much.
fn wanting(host: Value) -> Solution {
    let mut filter = module("edgectl-filter:1.0");
    filter["settings"]["createOptions"] = json!({ "HostConfig": host });
    Solution::with(json!({ "filter": filter }))
}

/// What the agent reports.
fn reported(solution: &Solution) -> Value {
    solution.json(&["twin", "get", "$edgeAgent", "--reported"])
}

#[test]
fn profiles_are_listed_anywhere_and_those_of_a_solution_come_first() {
    let place = tempfile::tempdir().unwrap();
    let list = || {
        let output = crate::binary::edgectl(place.path()).args(["sim", "profiles", "--json"]).assert().success();
        serde_json::from_slice::<Value>(&output.get_output().stdout).unwrap()
    };
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|profile| profile["name"].as_str().unwrap().to_owned()).collect()
    };
    let built_in = names(&list());
    for name in ["raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano", "x86-gateway", "stack-edge-pro-gpu"] {
        assert!(built_in.iter().any(|known| known == name), "{name}");
    }
    fs::write(
        place.path().join("edgectl.yaml"),
        "profile: board\nprofiles:\n  board: {architecture: arm, cores: 1, memory: 512MiB, storage: 8GB}\n",
    )
    .unwrap();
    let with_own = list();
    assert_eq!(names(&with_own)[0], "board");
    assert_eq!(
        (&with_own[0]["own"], &with_own[0]["default"], &with_own[0]["machine"]["memory"]),
        (&json!(true), &json!(true), &json!(536_870_912))
    );
    assert_eq!(names(&with_own).len(), built_in.len() + 1);
}

#[test]
fn the_agent_reports_the_machine_that_the_device_is_like() {
    let solution = Solution::new();
    let up = solution.json(&["sim", "up", "-d", "--profile", "raspberry-pi-5"]);
    assert_eq!(up["profile"]["name"], "raspberry-pi-5");
    solution.edgectl(&["deploy"]).assert().success();
    assert_eq!(reported(&solution)["runtime"]["platform"]["architecture"], "aarch64");
    solution.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn an_image_of_another_architecture_fails_as_it_would_there() {
    let solution = Solution::with(json!({
        "right": module("localhost/edgectl-filter:1.0-arm64v8"),
        "also": module("localhost/edgectl-filter:1.0-arm32v7"),
        "wrong": module("localhost/edgectl-filter:1.0-amd64"),
    }));
    solution.edgectl(&["sim", "up", "-d", "--profile", "raspberry-pi-4"]).assert().success();
    refused(
        solution.edgectl(&["deploy"]).assert(),
        1,
        "exec format error: the image is for amd64, and raspberry-pi-4 is arm64",
    );
    let modules = &reported(&solution)["modules"];
    assert_eq!((&modules["wrong"]["exitCode"], &modules["wrong"]["runtimeStatus"]), (&json!(255), &json!("backoff")));
    assert_eq!(
        (&modules["right"]["runtimeStatus"], &modules["also"]["runtimeStatus"]),
        (&json!("running"), &json!("running"))
    );
    solution.edgectl(&["logs", "wrong"]).assert().success().stdout(predicates::str::contains("exec format error"));

    // The same name with an image that fits takes its place.
    let path = solution.root().join("deployment.template.json");
    let text = fs::read_to_string(&path).unwrap().replace("1.0-amd64", "1.0-arm64v8");
    fs::write(path, text).unwrap();
    solution.edgectl(&["deploy"]).assert().success();
    solution.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn what_was_built_for_another_platform_does_not_run() {
    let solution = Solution::with(json!({ "filter": module("${MODULES.filter}") }));
    fs::create_dir_all(solution.root().join("modules/filter")).unwrap();
    let files = [
        ("module.json", json!({ "language": "python", "image": { "repository": "filter", "tag": { "version": "1", "platforms": { "amd64": "Dockerfile", "arm64v8": "Dockerfile" } } } }).to_string()),
        ("Dockerfile", "FROM scratch\n".to_owned()),
        ("main.py", "import time\nprint('up', flush=True)\ntime.sleep(3600)\n".to_owned()),
    ];
    for (name, text) in files {
        fs::write(solution.root().join("modules/filter").join(name), text).unwrap();
    }
    solution.edgectl(&["sim", "up", "-d", "--profile", "jetson-orin-nano"]).assert().success();
    solution.edgectl(&["build"]).assert().success();
    refused(solution.edgectl(&["deploy"]).assert(), 1, "build and deploy it with `--platform arm64v8`");
    solution.edgectl(&["build", "--platform", "arm64v8"]).assert().success();
    solution.edgectl(&["deploy", "--platform", "arm64v8"]).assert().success();
    solution.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn more_than_there_is_is_refused_and_names_the_modules() {
    let solution = wanting(json!({ "Memory": 3_u64 << 30 }));
    fs::write(solution.root().join("board.yaml"), "architecture: amd64\ncores: 2\nmemory: 2GiB\nstorage: 8GB\n")
        .unwrap();
    let up = solution.json(&["sim", "up", "-d", "--profile", "board.yaml"]);
    assert_eq!(up["profile"]["name"], "board");
    let words = "board has 2 GiB of memory, and the modules may use 3 GiB: filter 3 GiB";
    refused(solution.edgectl(&["deploy"]).assert(), 3, words);
    // Nothing reached the device; who goes through the hub is refused by the agent.
    assert_eq!(reported(&solution)["modules"]["filter"], Value::Null);
    solution.edgectl(&["sim", "down"]).assert().success();
    solution.edgectl(&["sim", "up", "-d", "--profile", "raspberry-pi-4"]).assert().success();
    solution.edgectl(&["deploy"]).assert().success();
    solution.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn processors_that_are_shared_are_warned_of() {
    let mut modules = serde_json::Map::new();
    for name in ["one", "two"] {
        let mut busy = module("edgectl-filter:1.0");
        busy["settings"]["createOptions"] = json!({ "HostConfig": { "NanoCpus": 3_000_000_000_u64 } });
        modules.insert(name.to_owned(), busy);
    }
    let solution = Solution::with(Value::Object(modules));
    fs::write(solution.root().join("edgectl.yaml"), "profile: x86-gateway\n").unwrap();
    solution
        .edgectl(&["sim", "up", "-d"])
        .assert()
        .success()
        .stdout(predicates::str::contains("x86-gateway (amd64, 4 cores, 8 GiB"));
    let words =
        "warning: x86-gateway has 4 cores, and the modules may use 6.00 cores at once: one 3.00 cores, two 3.00 cores";
    solution.edgectl(&["deploy"]).assert().success().stderr(predicates::str::contains(words));
    solution.edgectl(&["sim", "down"]).assert().success();
    // The solution file is not the last word.
    let up = solution.json(&["sim", "up", "-d", "--profile", "none"]);
    assert_eq!(up["profile"], Value::Null);
    solution.edgectl(&["sim", "down"]).assert().success();
}

#[test]
fn a_profile_that_is_not_there_or_says_nonsense_is_told() {
    let solution = Solution::new();
    refused(
        solution.edgectl(&["sim", "up", "--profile", "raspbery-pi-4"]).assert(),
        2,
        "there is no profile \"raspbery-pi-4\"",
    );
    refused(solution.edgectl(&["sim", "up", "-d", "--profile", "board.yaml"]).assert(), 2, "board.yaml");
    fs::write(solution.root().join("board.yaml"), "architecture: mips\ncores: 1\nmemory: 1GiB\nstorage: 1GB\n")
        .unwrap();
    refused(solution.edgectl(&["sim", "up", "--profile", "board.yaml"]).assert(), 3, "mips");
    for (text, words) in [
        ("profile: raspberry\n", "there is no profile"),
        ("profiles:\n  a: {architecture: arm64, cores: 1, memory: 4 furlongs, storage: 1GB}\n", "4 furlongs"),
        ("profiles:\n  a: {name: b, architecture: arm64, cores: 1, memory: 1GiB, storage: 1GB}\n", "name"),
    ] {
        fs::write(solution.root().join("edgectl.yaml"), text).unwrap();
        solution.edgectl(&["validate", "edgectl.yaml"]).assert().code(3).stdout(predicates::str::contains(words));
    }
}
