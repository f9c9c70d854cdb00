//! Going back to what a device was.

use serde_json::{Value, json};

use crate::binary::refused;
use crate::device::{Solution, received, wait_until};

#[test]
fn messages_that_wait_are_delivered_again_after_going_back() {
    let solution = Solution::with(json!({}));
    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] =
        json!({ "all": "FROM /messages/* INTO $upstream" });
    std::fs::write(&path, template.to_string()).unwrap();
    refused(solution.edgectl(&["sim", "snapshot", "early"]).assert(), 1, "no state yet");
    let up = || drop(solution.edgectl(&["sim", "up", "-d"]).assert().success());
    let down = || drop(solution.edgectl(&["sim", "down"]).assert().success());
    up();
    solution.edgectl(&["deploy"]).assert().success();
    // Known to the edge hub before the network is gone.
    solution.edgectl(&["message", "send", "--leaf", "thermometer", "0"]).assert().success();
    wait_until("the first message is in the cloud", || received(&solution) == 1);
    solution.edgectl(&["sim", "network", "offline"]).assert().success();
    let connection = solution.json(&["leaf", "list"]);
    assert!(connection.to_string().contains("thermometer"));
    for number in ["1", "2", "3"] {
        solution.edgectl(&["message", "send", "--leaf", "thermometer", number]).assert().success();
    }
    let running = solution.edgectl(&["sim", "snapshot", "waiting"]).assert();
    assert!(String::from_utf8_lossy(&running.get_output().stderr).contains("edgectl sim down"));
    refused(running, 1, "is running");
    down();
    let taken = solution.json(&["sim", "snapshot", "waiting"]);
    assert!(taken["name"] == "waiting" && taken["bytes"].as_u64().unwrap() > 0, "{taken}");
    refused(solution.edgectl(&["sim", "snapshot", "waiting"]).assert(), 1, "already");
    solution.edgectl(&["sim", "snapshot", "waiting", "--force"]).assert().success();

    let bodies = || {
        let events = solution.edgectl(&["events", "--json"]).assert().success().get_output().stdout.clone();
        let events = String::from_utf8(events).unwrap();
        let bodies = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].to_string());
        bodies.collect::<Vec<_>>()
    };
    for _ in 0..2 {
        up();
        wait_until("what waited is delivered", || received(&solution) == 4);
        assert_eq!(bodies(), ["0", "1", "2", "3"]);
        refused(solution.edgectl(&["sim", "restore", "waiting"]).assert(), 1, "is running");
        down();
        solution.edgectl(&["sim", "snapshot", "restore", "waiting"]).assert().success();
    }
    assert_eq!(solution.json(&["sim", "snapshot", "list"])[0]["name"], "waiting");
    solution.edgectl(&["sim", "snapshot", "remove", "waiting"]).assert().success();
    assert_eq!(solution.json(&["sim", "snapshot", "list"]), json!([]));
    refused(solution.edgectl(&["sim", "restore", "waiting"]).assert(), 1, "there is no snapshot waiting");
    solution.edgectl(&["sim", "snapshot", "../up"]).assert().code(2);
    // A device beside it has its own.
    let other = solution.edgectl(&["--device", "other", "sim", "snapshot", "list", "--json"]).assert().success();
    assert_eq!(String::from_utf8_lossy(&other.get_output().stdout).trim(), "[]");
}
