//! `edgectl layers`: what a device gets when several deployments meet.

use std::fs;

use serde_json::{Value, json};

use crate::binary::{edgectl, refused};

#[test]
fn layers_for_the_device_lie_over_the_base_by_priority() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| fs::write(directory.path().join(name), value.to_string()).unwrap();
    let image = |name: &str| {
        json!({"type": "docker", "status": "running", "restartPolicy": "always",
        "settings": {"image": name}})
    };
    write(
        "base.json",
        &json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
            "systemModules": {"edgeAgent": image("a:1.6"), "edgeHub": image("h:1.6")}, "modules": {"m": image("m:1")}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {},
            "storeAndForwardConfiguration": {"timeToLiveSecs": 10}}}}}),
    );
    let layer = |priority: u32, condition: &str, route: &str| {
        json!({"id": format!("layer{priority}"), "priority": priority, "targetCondition": condition, "content":
            {"modulesContent": {"$edgeHub": {"properties.desired.routes.up": route}}}})
    };
    write("high.json", &layer(9, "tags.line = 1", "FROM /messages/* INTO $upstream"));
    write("low.json", &layer(2, "*", "FROM /* INTO $upstream"));
    write("other.json", &layer(7, "tags.line = 2", "FROM /messages/nowhere INTO $upstream"));
    write("broken.json", &layer(8, "deviceId = 'edge'", "FROM nowhere"));

    let run = |arguments: &[&str]| {
        let output = edgectl(directory.path()).arg("layers").args(arguments).arg("--json").output().unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let files = ["high.json", "base.json", "low.json", "other.json"];
    let (status, result) = run(&[&files[..], &["--device", "edge", "--tag", "line=1"]].concat());
    assert_eq!(status, Some(0), "{result}");
    assert_eq!(result["applied"], json!(["base.json", "layer2", "layer9"]));
    assert_eq!(result["leftOut"][0]["name"], "layer7");
    assert_eq!(result["origins"]["$edgeHub.properties.desired.routes.up"], "layer9");
    let routes = &result["manifest"]["modulesContent"]["$edgeHub"]["properties.desired"]["routes"];
    assert_eq!(routes["up"], "FROM /messages/* INTO $upstream");
    assert_eq!(run(&["base.json", "broken.json"]).0, Some(3));
    assert_eq!(run(&["low.json"]).0, Some(2));

    // A layer alone is no configuration of a device.
    write("edgectl.yaml", &json!({"name": "s"}));
    let deployed = edgectl(directory.path()).args(["deploy", "-f", "high.json"]).assert();
    refused(deployed, 3, "is a layered deployment, which a device cannot run alone");
}
