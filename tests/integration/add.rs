//! `edgectl add`, `edgectl template`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, names, refused};

/// As people write them: comments, a trailing comma, a placeholder for a whole value, lines of their own making.
const TEMPLATE: &str = r#"{
    // what we deploy
    "$schema-template": "2.0.0",
    "modulesContent": {
        "$edgeAgent": { "properties.desired": {
            "schemaVersion": "1.1", "debug": ${DEBUG},
            "modules": {
                "one": { "type": "docker" }, // the first
            }
        } },
        "$edgeHub": { "properties.desired": { "routes": { "a": "FROM /* INTO $upstream" } } }
    }
}
"#;

fn solution(template: &str) -> TempDir {
    let place = tempdir().unwrap();
    fs::write(place.path().join("deployment.template.json"), template).unwrap();
    place
}

fn template_of(root: &Path) -> String {
    fs::read_to_string(root.join("deployment.template.json")).unwrap()
}

#[test]
fn a_module_is_added_and_the_rest_stays_as_it_is() {
    let place = solution(TEMPLATE);
    let below = place.path().join("modules/deep/inside");
    fs::create_dir_all(&below).unwrap();
    let assert = edgectl(&below).args(["add", "module", "two", "--lang", "rust"]).assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(text.ends_with("edgectl build two\n"), "{text}");
    let entry = r#"
                "two": {
                    "version": "1.0",
                    "type": "docker",
                    "status": "running",
                    "restartPolicy": "always",
                    "settings": {
                        "image": "${MODULES.two}",
                        "createOptions": {}
                    }
                },"#;
    let expected = TEMPLATE.replace("// the first", &format!("// the first{entry}")).replace(
        "\"FROM /* INTO $upstream\"",
        "\"FROM /* INTO $upstream\", \"twoToIoTHub\": \"FROM /messages/modules/two/outputs/* INTO $upstream\"",
    );
    assert_eq!(template_of(place.path()), expected);
    let module = place.path().join("modules/two");
    let cargo = fs::read_to_string(module.join("Cargo.toml")).unwrap();
    assert!(cargo.contains("name = \"two\""), "{cargo}");
    assert_eq!(names(&place.path().join("modules")), ["deep", "two"]);
}

#[test]
fn modules_can_be_added_one_after_another() {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "s", "--no-module"]).assert().success();
    let root = place.path().join("s");
    for (name, language) in [("one", "rust"), ("two", "python"), ("Three", "rs")] {
        edgectl(&root).args(["add", "module", name, "--lang", language]).assert().success();
    }
    let deployment: Value = serde_json::from_str(&template_of(&root)).unwrap();
    let modules = &deployment["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"];
    let added: Vec<&String> = modules.as_object().unwrap().keys().collect();
    assert_eq!(added, ["SimulatedTemperatureSensor", "one", "two", "Three"]);
}

#[test]
fn what_cannot_be_added_changes_nothing() {
    let place = solution(TEMPLATE);
    fs::create_dir_all(place.path().join("modules/full")).unwrap();
    fs::write(place.path().join("modules/full/mine"), "").unwrap();
    let add = |arguments: &[&str]| edgectl(place.path()).args(["add", "module"]).args(arguments).assert();
    refused(add(&["one", "--lang", "rust"]), 2, "has a module \"one\" already");
    refused(add(&["full", "--lang", "rust"]), 2, "is not an empty directory");
    refused(add(&["new", "--lang", "phyton"]), 2, "Did you mean `--lang python`?");
    refused(add(&["new", "--lang", "cobol"]), 2, "python, rust");
    refused(add(&["new", "--lang", "plain"]), 2, "no template \"plain\" for a module");
    refused(add(&["new", "--lang", "rust", "--set", "a=b"]), 2, "there is no parameter \"a\"");
    refused(add(&["new"]), 2, "no language was given");
    refused(add(&["new module", "--lang", "rust"]), 2, "module name");
    refused(add(&["edgehub", "--lang", "rust"]), 2, "module name");
    assert_eq!(template_of(place.path()), TEMPLATE);
    assert_eq!(names(place.path()), ["deployment.template.json", "modules"]);
    assert_eq!(names(&place.path().join("modules")), ["full"]);
}

#[test]
fn a_route_of_that_name_is_not_replaced() {
    let text = TEMPLATE.replace("\"a\":", "\"twoToIoTHub\":");
    let place = solution(&text);
    let assert = edgectl(place.path()).args(["add", "module", "two", "--lang", "rust"]).assert();
    refused(assert, 2, "has a route \"twoToIoTHub\" already");
    assert_eq!(template_of(place.path()), text);
    assert_eq!(names(place.path()), ["deployment.template.json"]);
}

#[test]
fn a_template_that_does_not_parse_is_told_by_its_place() {
    for (text, words) in [
        ("{\n  \"modulesContent\": {\n", "deployment.template.json:"),
        ("{\n  \"a\" 1\n}", "deployment.template.json:2:"),
        ("", "it is empty"),
        ("{}", "has no object modulesContent"),
        ("{\"modulesContent\": {}}", "has no object modulesContent.$edgeAgent"),
    ] {
        let place = solution(text);
        let assert = edgectl(place.path()).args(["add", "module", "m", "--lang", "rust"]).assert();
        refused(assert, 3, words);
        assert_eq!(template_of(place.path()), text);
        assert_eq!(names(place.path()), ["deployment.template.json"]);
    }
}

#[test]
fn outside_of_a_solution_nothing_is_added() {
    let place = tempdir().unwrap();
    refused(edgectl(place.path()).args(["add", "module", "m", "--lang", "rust"]).assert(), 2, "no solution in");
    assert!(names(place.path()).is_empty());
}

#[test]
fn an_image_is_added_without_a_source() {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "s", "--no-module"]).assert().success();
    let root = place.path().join("s");
    let script = "while date; do sleep 1; done";
    let arguments = ["add", "module", "clock", "--image", "busybox:1.37", "--", "sh", "-c", script];
    edgectl(&root).args(arguments).assert().success();
    let deployment: Value = serde_json::from_str(&template_of(&root)).unwrap();
    let settings = &deployment["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["clock"]["settings"];
    assert_eq!(settings["image"], "busybox:1.37");
    assert_eq!(settings["createOptions"]["Cmd"], serde_json::json!(["sh", "-c", script]));
    edgectl(&root).args(["validate", "--deny-warnings"]).assert().success();
    assert!(!root.join("modules").exists());
    let assert = edgectl(&root).args(["add", "module", "m", "--image", "a:1", "--lang", "go"]).assert();
    refused(assert, 2, "cannot be used with");
}

#[test]
fn a_preview_writes_nothing() {
    let place = solution(TEMPLATE);
    let assert =
        edgectl(place.path()).args(["add", "module", "two", "--lang", "go", "-n", "--json"]).assert().success();
    let preview: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert!(preview["files"].as_array().unwrap().iter().any(|file| file["path"] == "edge/client.go"), "{preview}");
    assert!(preview["changed"].as_str().unwrap().ends_with("deployment.template.json"));
    assert_eq!(template_of(place.path()), TEMPLATE);
    assert_eq!(names(place.path()), ["deployment.template.json"]);
}

#[test]
fn languages_are_listed() {
    let place = tempdir().unwrap();
    let assert = edgectl(place.path()).args(["template", "list", "--json"]).assert().success();
    let result: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let languages: Vec<&str> =
        result["templates"].as_array().unwrap().iter().filter_map(|template| template["language"].as_str()).collect();
    assert_eq!(languages, ["c", "csharp", "go", "java", "javascript", "python", "rust", "typescript"]);
}
