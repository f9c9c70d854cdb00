//! What a deployment would change, how far it is, and back again: here, and at another hub.

use std::fs;

use serde_json::{Value, json};

use crate::binary::refused;
use crate::device::{DEVICE, Solution, module, wait_until};

const FILTER: &str = "edgectl-filter:1.0";

impl Solution {
    /// Sets the filter's threshold in the template.
    fn threshold(&self, threshold: u32) {
        let path = self.root().join("deployment.template.json");
        let mut template: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        template["modulesContent"]["filter"]["properties.desired"]["TemperatureThreshold"] = json!(threshold);
        fs::write(&path, template.to_string()).unwrap();
    }
}

#[test]
fn a_deployment_is_taken_back_and_its_status_told() {
    let solution = Solution::with(json!({ "filter": module(FILTER) }));
    solution.edgectl(&["sim", "up", "-d"]).assert().success();
    refused(solution.edgectl(&["deploy", "rollback"]).assert(), 1, "nothing was deployed from here yet");
    let threshold =
        || solution.json(&["twin", "get", "filter"])["properties"]["desired"]["TemperatureThreshold"].clone();
    for (value, versions) in [(1, 1), (2, 2), (2, 2), (3, 3)] {
        solution.threshold(value);
        solution.edgectl(&["deploy"]).assert().success();
        let file = solution.root().join(format!(".edgectl/deployments/device-{DEVICE}.json"));
        let kept: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(kept.as_array().unwrap().len(), versions, "the same is not remembered twice");
    }
    refused(solution.edgectl(&["deploy", "rollback", "--to", "lab"]).assert(), 2, "has no target \"lab\"");
    for value in [2, 1] {
        solution.edgectl(&["deploy", "rollback"]).assert().success();
        assert_eq!(threshold(), value);
    }
    refused(solution.edgectl(&["deploy", "rollback"]).assert(), 1, "nothing was deployed before");
    assert_eq!(threshold(), 1);

    let status = solution.json(&["deploy", "status"]);
    assert_eq!(status["code"], 200);
    assert_eq!(status["isDone"], true);
    assert_eq!(status["modules"][0]["status"], "running");
    let path = solution.root().join("deployment.template.json");
    let text = fs::read_to_string(&path).unwrap().replace(FILTER, "nowhere.invalid/filter:9");
    fs::write(&path, text).unwrap();
    solution.edgectl(&["deploy", "--no-wait", "--configuration", "bad", "--target-condition", "*"]).assert().success();
    wait_until("the agent has said no", || {
        let output = solution.edgectl(&["--json", "deploy", "status", "--configuration", "bad"]).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        output.status.code() == Some(1) && told["failing"][0]["code"].as_u64().is_some_and(|code| code > 200)
    });
    let unknown = solution.edgectl(&["deploy", "status", "--configuration", "other"]).assert();
    refused(unknown, 1, "there is no configuration other");
    solution.edgectl(&["configuration", "remove", "bad"]).assert().success();
}

#[test]
fn what_would_change_at_another_hub_is_told_before() {
    let lab = Solution::with(json!({ "filter": module(FILTER) }));
    lab.edgectl(&["sim", "up", "-d"]).assert().success();
    lab.threshold(5);
    lab.edgectl(&["deploy"]).assert().success();
    lab.edgectl(&["connection-string", "-o", "string.txt"]).assert().success();

    let solution = Solution::with(json!({ "filter": module(FILTER), "more": module(FILTER) }));
    solution.threshold(6);
    let file = solution.root().join("edgectl.yaml");
    let place = |name: &str| lab.root().join(name).display().to_string();
    let targets = format!(
        "targets:\n  lab:\n    connectionStringFile: {}\n    trustBundle: {}\n    device: {DEVICE}\n",
        place("string.txt"),
        place(".edgectl/device/authority/trust-bundle.pem"),
    );
    fs::write(&file, fs::read_to_string(&file).unwrap() + &targets).unwrap();
    let plan =
        solution.edgectl(&["--json", "deploy", "--plan", "--to", "lab", "--detailed-exitcode"]).output().unwrap();
    assert_eq!(plan.status.code(), Some(8));
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let threshold = json!([{ "property": "TemperatureThreshold", "from": 5, "to": 6 }]);
    assert_eq!(plan["modules"]["filter"], threshold);
    assert_eq!(plan["modules"]["$edgeAgent"][0]["property"], "modules.more");
    assert_eq!(plan["modules"].get("$edgeHub"), None, "{plan}");
    assert_eq!(lab.json(&["twin", "get", "filter"])["properties"]["desired"]["TemperatureThreshold"], 5);

    solution.edgectl(&["deploy", "--to", "lab"]).assert().success();
    let again = solution.json(&["deploy", "--plan", "--to", "lab", "--detailed-exitcode"]);
    assert_eq!(again["hasChanges"], false, "{again}");
    wait_until("all run", || solution.edgectl(&["deploy", "status", "--to", "lab"]).output().unwrap().status.success());
    solution.threshold(7);
    solution.edgectl(&["deploy", "--to", "lab"]).assert().success();
    solution.edgectl(&["deploy", "rollback", "--to", "lab"]).assert().success();
    assert_eq!(lab.json(&["twin", "get", "filter"])["properties"]["desired"]["TemperatureThreshold"], 6);
}
