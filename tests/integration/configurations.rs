//! Deployments for many devices, queries, other hubs, and what reached the cloud, by command.

use std::fs;

use serde_json::{Value, json};

use crate::binary::refused;
use crate::device::{DEVICE, Solution};

/// A device without modules.
fn solution() -> Solution {
    let solution = Solution::with(json!({}));
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    solution
}

#[test]
fn a_configuration_is_deployed_listed_and_removed() {
    let solution = solution();
    let deploy =
        ["deploy", "--configuration", "base", "--target-condition", "*", "--priority", "5", "--label", "by=me"];
    let deployed = solution.json(&deploy);
    let expected = json!([{
        "id": "base", "priority": 5, "targetCondition": "*",
        "targeted": 1, "applied": 1, "succeeded": 1, "failed": 0,
    }]);
    assert_eq!(deployed, expected);
    assert_eq!(solution.json(&["configuration", "list"]), expected);
    assert_eq!(solution.json(&["configuration", "show", "base"])["labels"], json!({ "by": "me" }));
    let query = "SELECT deviceId FROM devices.modules WHERE configurations.[[base]].status = 'Applied'";
    assert_eq!(solution.json(&["query", query]), json!([{ "deviceId": DEVICE }]));

    let layer = solution.root().join("layer.json");
    let content = json!({ "$edgeHub": { "properties.desired.routes.more": "FROM /messages/* INTO $upstream" } });
    fs::write(&layer, json!({ "modulesContent": content }).to_string()).unwrap();
    let over = ["deploy", "-f", "layer.json", "--configuration", "layer", "--target-condition", "*", "--priority", "6"];
    assert_eq!(solution.json(&over)[0]["succeeded"], 1);
    let routes = solution.json(&["twin", "get", "$edgeHub"])["properties"]["desired"]["routes"].clone();
    assert!(routes.get("more").is_some(), "{routes}");

    let plan = ["deploy", "--plan", "--configuration", "other", "--target-condition", "*", "--priority", "9"];
    let planned = solution.json(&plan);
    assert_eq!(planned["configuration"][1], json!({ "property": "priority", "to": 9 }));
    assert_eq!(planned["hasChanges"], true);
    let same = [&deploy[..], &["--plan", "--detailed-exitcode"]].concat();
    assert_eq!(solution.json(&same)["hasChanges"], false);
    assert_eq!(solution.json(&["configuration", "list"]).as_array().unwrap().len(), 2, "a plan changes nothing");
    refused(solution.edgectl(&["deploy", "--configuration", "other"]).assert(), 2, "--target-condition");
    let wrong = ["deploy", "--configuration", "other", "--target-condition", "tags.a = "];
    refused(solution.edgectl(&wrong).assert(), 1, "wrong at character 10");
    solution.edgectl(&["configuration", "remove", "layer"]).assert().success();
    refused(solution.edgectl(&["configuration", "remove", "layer"]).assert(), 1, "there is no configuration layer");
    refused(solution.edgectl(&["query", "SELECT * FRM devices"]).assert(), 2, "           ^");
}

#[test]
fn another_hub_is_a_target_of_the_solution_file() {
    let (lab, solution) = (solution(), Solution::with(json!({})));
    lab.edgectl(&["connection-string", "-o", "string.txt"]).assert().success();
    let file = solution.root().join("edgectl.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let place = |name: &str| lab.root().join(name).display().to_string();
    let targets = format!(
        "targets:\n  lab:\n    connectionStringFile: {}\n    trustBundle: {}\n    device: {}\n",
        place("string.txt"),
        place(".edgectl/device/authority/trust-bundle.pem"),
        DEVICE,
    );
    fs::write(&file, text + &targets).unwrap();
    refused(solution.edgectl(&["deploy", "--to", "labs"]).assert(), 2, "Did you mean `--to lab`?");
    solution.edgectl(&["deploy", "--to", "lab"]).assert().success();
    assert_eq!(lab.json(&["status"])["deploymentVersion"], 2);
    assert_eq!(solution.json(&["configuration", "list", "--to", "lab"]), json!([]));
    fs::write(lab.root().join("string.txt"), "HostName=127.0.0.1:1;SharedAccessKeyName=x;SharedAccessKey=a2V5")
        .unwrap();
    refused(solution.edgectl(&["deploy", "--to", "lab"]).assert(), 1, "the hub at 127.0.0.1:1 cannot be reached");
}

#[test]
fn events_are_chosen_by_who_sent_them_and_what_they_say() {
    let solution = solution();
    solution.edgectl(&["deploy"]).assert().success();
    let events = |arguments: &[&str]| -> Vec<Value> {
        let assert = solution.edgectl(&[&["events", "--json"], arguments].concat()).assert().success();
        let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(events(&[]), Vec::<Value>::new());
    let agent = ["--source", "twinChangeEvents", "--module", "$edgeAgent"];
    let all = events(&agent);
    assert!(all.iter().all(|event| event["moduleId"] == "$edgeAgent" && event["source"] == "twinChangeEvents"));
    let accepted = "$body.properties.reported.lastDesiredStatus.code = 200";
    let chosen = events(&[&agent[..], &["--where", accepted]].concat());
    assert!(!chosen.is_empty() && chosen.len() < all.len(), "{chosen:?}");
    let made = ["--source", "deviceLifecycleEvents", "--property", "opType=createDeviceIdentity"];
    assert_eq!(events(&made).len(), 1);
    assert_eq!(events(&[&made[..], &["--from-device", "nobody"]].concat()).len(), 0);
    let late = ["events", "-f", "--count", "1", "--timeout", "1"];
    let assert = solution.edgectl(&late).assert();
    refused(assert, 7, "0 of 1 messages came within 1 seconds");
    refused(solution.edgectl(&["events", "--where", "$body.a = "]).assert(), 2, "--where");
    refused(solution.edgectl(&["events", "--source", "gossip"]).assert(), 2, "there is no source \"gossip\"");
}
