//! `edgectl schema`: the published schemas, and the settings of an editor.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::binary::edgectl;

fn schema(name: &str) -> Value {
    let output = edgectl(Path::new(".")).args(["schema", "print", name]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn schemas_are_printed_and_take_what_a_solution_has() {
    let output = edgectl(Path::new(".")).args(["schema", "list", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    for entry in list["schemas"].as_array().unwrap() {
        assert!(jsonschema::meta::is_valid(&schema(entry["name"].as_str().unwrap())), "{entry}");
    }
    edgectl(Path::new(".")).args(["schema", "print", "deploymnt"]).assert().code(2);
    let solution = json!({"name": "mine", "device": "edge-1", "template": "a.template.yaml", "allow": ["EDGE0303"]});
    assert!(jsonschema::is_valid(&schema("solution"), &solution));
    assert!(!jsonschema::is_valid(&schema("solution"), &json!({"devise": "edge-1"})));
    let module = json!({"image": {"repository": "r", "tag": {"version": "1", "platforms": {"amd64": "./Dockerfile"}}}});
    assert!(jsonschema::is_valid(&schema("module"), &module));
}

#[test]
fn the_editor_is_told_without_losing_its_settings() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join(".vscode/settings.json");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(directory.path().join("edgectl.yaml"), "name: mine\n").unwrap();
    fs::write(&settings, r#"{"editor.tabSize": 2, "json.schemas": [{"url": "mine"}]}"#).unwrap();
    for _ in 0..2 {
        edgectl(directory.path()).args(["schema", "editor"]).assert().success();
    }
    let written: Value = serde_json::from_slice(&fs::read(&settings).unwrap()).unwrap();
    assert_eq!((&written["editor.tabSize"], &written["json.schemas"][0]["url"]), (&json!(2), &json!("mine")));
    assert_eq!(written["json.schemas"].as_array().unwrap().len(), 4, "{written}");
    let url = written["json.schemas"][1]["url"].as_str().unwrap();
    assert!(directory.path().join(url).is_file());
    fs::write(&settings, "{ // mine\n}").unwrap();
    edgectl(directory.path()).args(["schema", "editor"]).assert().code(1);
    assert_eq!(fs::read_to_string(&settings).unwrap(), "{ // mine\n}");
}
