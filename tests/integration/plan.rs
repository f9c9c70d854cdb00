//! What a deployment would do, told before it is done.

use std::fs;

use serde_json::{Value, json};

use crate::device::{Solution, module};

/// The modules of a plan with what would be done with them.
fn actions(plan: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let modules = plan["modules"].as_array().unwrap().iter();
    modules.map(|module| (text(&module["name"]), text(&module["action"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, action)| ((*name).to_owned(), (*action).to_owned())).collect()
}

#[test]
fn a_plan_says_what_a_deployment_would_change_and_changes_nothing() {
    let sensor = "SimulatedTemperatureSensor";
    let solution = Solution::new();
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    let first = solution.json(&["deploy", "--plan"]);
    assert_eq!(actions(&first), pairs(&[(sensor, "create"), ("filter", "create")]));
    assert_eq!(first["steps"][0], json!({"step": "pull", "module": sensor}));
    assert!(solution.json(&["status"])["modules"].as_array().unwrap().is_empty());
    solution.edgectl(&["deploy"]).assert().success();
    let same = solution.json(&["sim", "plan", "--detailed-exitcode"]);
    assert_eq!((&same["hasChanges"], &same["steps"]), (&json!(false), &json!([])));

    let path = solution.root().join("deployment.template.json");
    let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let content = &mut template["modulesContent"];
    let modules = &mut content["$edgeAgent"]["properties.desired"]["modules"];
    modules["filter"]["env"]["Secret"] = json!({"value": "do-not-show"});
    modules["another"] = module("edgectl-filter:1.0");
    modules[sensor]["status"] = json!("stopped");
    content["filter"]["properties.desired"]["TemperatureThreshold"] = json!(30);
    content["$edgeHub"]["properties.desired"]["routes"]["all"] = json!("FROM /messages/* INTO $upstream");
    fs::write(&path, template.to_string()).unwrap();
    let before = solution.processes();
    let plan = solution.json(&["deploy", "--plan"]);
    assert_eq!(actions(&plan), pairs(&[(sensor, "stop"), ("another", "create"), ("filter", "update")]));
    let changes = json!([{"property": "status", "from": "running", "to": "stopped"}]);
    assert_eq!(plan["modules"][0]["changes"], changes);
    assert_eq!(plan["modules"][2]["changes"], json!([{"property": "env.Secret"}]));
    assert_eq!(plan["hub"], json!([{"property": "routes.all", "to": "FROM /messages/* INTO $upstream"}]));
    assert_eq!(plan["twins"]["filter"], json!([{"property": "TemperatureThreshold", "from": 0, "to": 30}]));
    assert!(!plan.to_string().contains("do-not-show"));
    solution.edgectl(&["sim", "plan", "--detailed-exitcode"]).assert().code(8);
    solution.edgectl(&["sim", "plan"]).assert().success();
    assert_eq!(solution.processes(), before);
}

#[test]
fn a_plan_needs_a_running_device() {
    let solution = Solution::new();
    crate::binary::refused(solution.edgectl(&["sim", "plan"]).assert(), 1, "no simulated device is running");
}
