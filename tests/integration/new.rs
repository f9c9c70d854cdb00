//! `edgectl new`.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use crate::binary::{edgectl, names, refused};

#[test]
fn a_solution_has_what_the_next_commands_need() {
    let place = tempdir().unwrap();
    let assert = edgectl(place.path()).args(["new", "my-solution", "--lang", "rust"]).assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(text.ends_with("cd my-solution && edgectl build\n"), "{text}");

    let root = place.path().join("my-solution");
    assert_eq!(names(place.path()), ["my-solution"]);
    assert_eq!(names(&root), [".env", ".gitignore", "deployment.template.json", "edgectl.yaml", "modules"]);
    let deployment: Value =
        serde_json::from_str(&fs::read_to_string(root.join("deployment.template.json")).unwrap()).unwrap();
    let agent = &deployment["modulesContent"]["$edgeAgent"]["properties.desired"];
    assert_eq!(agent["modules"]["filter"]["settings"]["image"], "${MODULES.filter}");
    let routes = &deployment["modulesContent"]["$edgeHub"]["properties.desired"]["routes"];
    assert_eq!(
        routes["sensorTofilter"],
        "FROM /messages/modules/SimulatedTemperatureSensor/outputs/temperatureOutput INTO \
         BrokeredEndpoint(\"/modules/filter/inputs/input1\")"
    );
    assert_eq!(routes["filterToIoTHub"], "FROM /messages/modules/filter/outputs/* INTO $upstream");
    assert_eq!(deployment["modulesContent"]["filter"]["properties.desired"]["TemperatureThreshold"], 25);
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    for line in [".edgectl/", "config/", ".env"] {
        assert!(ignored.lines().any(|ignored| ignored == line), "{line} is ignored");
    }
}

#[test]
fn the_name_of_the_module_goes_everywhere() {
    let place = tempdir().unwrap();
    let arguments = ["new", "s", "--module", "HotAlarm", "--lang", "py", "--json"];
    let assert = edgectl(place.path()).args(arguments).assert().success();
    let result: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(result["module"]["language"], "python");
    let root = place.path().join("s");
    let module: Value =
        serde_json::from_str(&fs::read_to_string(root.join("modules/HotAlarm/module.json")).unwrap()).unwrap();
    assert_eq!(module["image"]["repository"], "${CONTAINER_REGISTRY_SERVER}/hotalarm");
    let deployment = fs::read_to_string(root.join("deployment.template.json")).unwrap();
    assert!(deployment.contains("\"${MODULES.HotAlarm}\""), "{deployment}");
    assert!(!deployment.contains("filter"), "{deployment}");
}

#[test]
fn without_a_module_the_sensor_reaches_the_cloud() {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "s", "--no-module"]).assert().success();
    let root = place.path().join("s");
    assert!(!root.join("modules").exists());
    let text = fs::read_to_string(root.join("deployment.template.json")).unwrap();
    let deployment: Value = serde_json::from_str(&text).unwrap();
    let routes = &deployment["modulesContent"]["$edgeHub"]["properties.desired"]["routes"];
    assert_eq!(routes.as_object().unwrap().keys().collect::<Vec<_>>(), ["sensorToIoTHub"]);
}

#[test]
fn names_that_look_like_other_things_are_names() {
    let place = tempdir().unwrap();
    for name in ["007", "true", "null", "1.0"] {
        edgectl(place.path()).args(["new", name, "--no-module"]).assert().success();
        let arguments = ["add", "module", "1st", "--lang", "rust"];
        edgectl(&place.path().join(name)).args(arguments).assert().success();
    }
}

#[test]
fn an_empty_directory_is_taken() {
    let place = tempdir().unwrap();
    fs::create_dir(place.path().join("s")).unwrap();
    edgectl(place.path()).args(["new", "s", "--lang", "python"]).assert().success();
    assert!(place.path().join("s/edgectl.yaml").is_file());
}

#[test]
fn nothing_is_written_where_something_is() {
    let place = tempdir().unwrap();
    fs::create_dir(place.path().join("full")).unwrap();
    fs::write(place.path().join("full/mine"), "").unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    for name in ["full", "file"] {
        refused(edgectl(place.path()).args(["new", name]).assert(), 2, "exists already");
    }
    assert_eq!(names(place.path()), ["file", "full"]);
    assert_eq!(names(&place.path().join("full")), ["mine"]);
}

#[test]
fn bad_names_and_languages_are_refused() {
    let place = tempdir().unwrap();
    for name in ["", ".", "..", "a/b", "a b", ".hidden", "ä"] {
        refused(edgectl(place.path()).args(["new", name]).assert(), 2, "solution name");
    }
    for name in ["", "a.b", "a b", "-a", "a_", "edgeHub", "$edgeAgent"] {
        let module = format!("--module={name}");
        refused(edgectl(place.path()).args(["new", "s", &module]).assert(), 2, "module name");
    }
    refused(edgectl(place.path()).args(["new", "s", "--lang", "rsut"]).assert(), 2, "Did you mean `--lang rust`?");
    refused(edgectl(place.path()).args(["new", "s", "--lang", "cobol"]).assert(), 2, "python, rust");
    assert!(names(place.path()).is_empty());
}

#[test]
fn without_a_terminal_the_missing_flag_is_named() {
    let place = tempdir().unwrap();
    refused(edgectl(place.path()).arg("new").assert(), 2, "`edgectl new NAME`");
    refused(edgectl(place.path()).args(["new", "s", "--from", "industry"]).assert(), 2, "`--from industrial`");
    refused(edgectl(place.path()).args(["new", "s", "--from", "retail", "--lang", "c"]).assert(), 2, "cannot be used");
    assert!(names(place.path()).is_empty());
}

#[test]
fn a_preview_writes_nothing() {
    let place = tempdir().unwrap();
    let assert = edgectl(place.path()).args(["new", "s", "--lang", "python", "-n"]).assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(text.contains("modules/filter/main.py") && text.contains("deployment.template.json"), "{text}");
    assert!(names(place.path()).is_empty());
}

#[test]
fn a_scaffold_that_fails_leaves_nothing() {
    let place = tempdir().unwrap();
    let solution = place.path().join("s");
    edgectl(place.path()).args(["new", "s", "--no-module"]).assert().success();
    fs::write(solution.join("modules"), "in the way").unwrap();
    let before = fs::read_to_string(solution.join("deployment.template.json")).unwrap();
    edgectl(&solution).args(["add", "module", "m", "--lang", "c"]).assert().failure();
    assert_eq!(fs::read_to_string(solution.join("deployment.template.json")).unwrap(), before);
    assert_eq!(names(&solution), [".env", ".gitignore", "deployment.template.json", "edgectl.yaml", "modules"]);
}
