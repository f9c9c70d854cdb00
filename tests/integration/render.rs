//! `edgectl render`: the manifest that iotedgedev would write, and what that tool would leave wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::binary::edgectl;

/// A folder that is there on machines that hold the reference material.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("passed over: {} is not there", path.display());
    None
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A solution with one module directory, `filter`, and a template with these user modules.
fn solution(modules: &Value) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let template = json!({"$schema-template": "4.0.0", "modulesContent": {"$edgeAgent": {"properties.desired": {
        "schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}}, "systemModules": {}, "modules": modules,
    }}}});
    let module = json!({"image": {"repository": "${REGISTRY}/Filter", "tag": {"version": "0.0.1", "platforms": {
        "amd64": "./Dockerfile.amd64", "amd64.debug": "./Dockerfile.debug"}}}});
    write(directory.path(), "deployment.template.json", &template.to_string());
    write(directory.path(), "modules/filter/module.json", &module.to_string());
    write(directory.path(), ".env", "REGISTRY=registry.example.com\n");
    directory
}

fn image(name: &str) -> Value {
    json!({ "settings": { "image": name, "createOptions": {} } })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn manifests_of_public_templates_are_byte_for_byte_those_of_iotedgedev() {
    let Some(corpus) = shared("corpus") else { return };
    let index = fs::read_to_string(corpus.join("GOLDEN.tsv")).unwrap();
    let mut different = Vec::new();
    for row in index.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()).filter(|row| row[2] == "0") {
        let template = corpus.join("files").join(row[0]);
        let expected = fs::read(corpus.join("golden").join(row[4])).unwrap();
        let output: Output = edgectl(template.parent().unwrap())
            .args(["render", "--compat", "-o", "-", "--platform", row[1]])
            .arg(&template)
            .output()
            .unwrap();
        if !output.status.success() || output.stdout != expected {
            different.push(format!("{} {}: {}", row[0], row[1], text(&output.stderr)));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

#[test]
fn the_manifest_is_written_into_config_under_the_name_of_template_and_platform() {
    let directory = solution(&json!({"a": image("${MODULES.filter}"), "b": image("${MODULES.filter.debug}")}));
    let output = edgectl(directory.path()).args(["render"]).output().unwrap();
    assert_eq!(text(&output.stdout), "config/deployment.amd64.json\n", "{}", text(&output.stderr));
    assert!(output.status.success());
    let written = fs::read_to_string(directory.path().join("config/deployment.amd64.json")).unwrap();
    assert!(written.contains("\"registry.example.com/filter:0.0.1-amd64\""), "{written}");
    assert!(written.contains("\"registry.example.com/filter:0.0.1-amd64.debug\""), "{written}");
    assert!(written.contains("\"createOptions\": \"{}\"") && !written.contains("schema-template"), "{written}");
    assert_eq!(fs::read_dir(directory.path().join("config")).unwrap().count(), 1);
}

#[test]
fn what_is_left_wrong_is_said_with_its_place_unless_compatibility_is_asked_for() {
    let cases = [
        (image("${MODULES.filtre}"), "EDGE0103", "Did you mean `${MODULES.filter}`?"),
        (image("${MODULES.filter.arm32v7}"), "EDGE0104", "amd64, amd64.debug"),
        (image("x${MODULES.filter}"), "EDGE0105", ""),
        (image("${MODULEDIR<../nowhere>}"), "EDGE0108", ""),
        (image("${NOWHERE}/x:1"), "EDGE0101", ".env"),
    ];
    for (module, code, help) in cases {
        let directory = solution(&json!({ "a": module }));
        let output = edgectl(directory.path()).args(["render", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{module}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = &report["diagnostics"][0];
        assert_eq!(found["code"], code, "{report}");
        assert!(found["help"].as_str().unwrap_or("").contains(help), "{report}");
        assert_eq!(found["path"], "modulesContent.$edgeAgent.\"properties.desired\".modules.a.settings.image");
        let output = edgectl(directory.path()).args(["render", "--compat"]).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
}

#[test]
fn a_variable_in_the_environment_wins_and_an_unset_one_in_the_open_is_named() {
    let directory = solution(&json!({"a": image("${MODULES.filter}")}));
    let output = edgectl(directory.path())
        .env("REGISTRY", "other")
        .env("CONTAINER_TAG", "rc1")
        .args(["render", "-o", "-"])
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("other/filter:0.0.1-rc1-amd64"), "{output:?}");

    write(directory.path(), "deployment.template.json", "{\"modulesContent\": ${CONTENT}}");
    let output = edgectl(directory.path()).args(["render"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let shown = text(&output.stderr);
    assert!(shown.contains("the variable `CONTENT` is not set"), "{shown}");
    assert!(shown.contains("deployment.template.json:1:20"), "{shown}");
}

#[test]
fn templates_may_be_json_with_comments_or_yaml() {
    let directory = solution(&json!({}));
    fs::remove_file(directory.path().join("deployment.template.json")).unwrap();
    let yaml = "# a template\n$schema-template: 4.0.0\nmodulesContent:\n  $edgeAgent:\n    properties.desired:\n      \
                modules:\n        a:\n          settings:\n            image: ${MODULES.filter}\n            \
                createOptions:\n              HostConfig: {Privileged: true}\n";
    write(directory.path(), "deployment.template.yaml", yaml);
    let output = edgectl(directory.path()).args(["render", "-o", "-"]).output().unwrap();
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = &manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["a"]["settings"];
    let expected = json!({"image": "registry.example.com/filter:0.0.1-amd64",
        "createOptions": "{\"HostConfig\":{\"Privileged\":true}}"});
    assert_eq!(settings, &expected, "{}", text(&output.stderr));
}

/// One template value for each case, so that the rules of expansion are seen through the command.
#[test]
fn variables_expand_as_in_iotedgedev() {
    let Some(path) = shared("reference/compat/iotedgedev-vectors.json") else { return };
    let vectors: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let cases = vectors["expand_env"]["cases"].as_array().unwrap();
    let environment: BTreeMap<String, String> = serde_json::from_value(vectors["expand_env"]["env"].clone()).unwrap();
    for case in cases {
        let (input, expected) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        // What the cases expand is text, not JSON: it is put where it can be read back.
        let Ok(expected) = serde_json::from_str::<Value>(&format!("\"{expected}\"")) else { continue };
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "deployment.template.json", &format!("{{\"value\": \"{input}\"}}"));
        let output =
            edgectl(directory.path()).envs(&environment).args(["render", "--compat", "-o", "-"]).output().unwrap();
        let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(manifest["value"], expected, "{input}");
    }
}

#[test]
fn dotenv_output_names_and_create_options_are_those_of_iotedgedev() {
    let Some(path) = shared("reference/compat/iotedgedev-vectors.json") else { return };
    let vectors: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let dotenv = &vectors["dotenv"];
    let directory = solution(&json!({}));
    write(directory.path(), ".env", dotenv["file"].as_str().unwrap());
    let expected = dotenv["result"].as_object().unwrap().iter().filter(|(name, _)| name.len() == 1);
    // Values are put into a JSON string, so those with a quote or a line end would break it.
    let plain: Vec<_> =
        expected.filter(|(_, value)| value.as_str().is_some_and(|v| !v.contains(['"', '\n', '\\']))).collect();
    let template: serde_json::Map<String, Value> =
        plain.iter().map(|(name, _)| ((*name).clone(), json!(format!("${{{name}}}")))).collect();
    write(directory.path(), "deployment.template.json", &json!(template).to_string());
    let output = edgectl(directory.path()).args(["render", "--compat", "-o", "-"]).output().unwrap();
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, value) in plain {
        assert_eq!(&manifest[name], value, "{name}");
    }

    for case in vectors["output_name"].as_array().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let template = case["template"].as_str().unwrap();
        write(directory.path(), template, &json!({"$schema-template": case["schema_template"]}).to_string());
        let platform = case["platform"].as_str().unwrap();
        let output =
            edgectl(directory.path()).args(["render", "--compat", template, "--platform", platform]).output().unwrap();
        assert_eq!(text(&output.stdout), format!("config/{}\n", case["out"].as_str().unwrap()), "{case}");
    }

    for case in vectors["create_options"].as_array().unwrap().iter().filter(|case| case["out"]["error"].is_null()) {
        let directory = solution(&json!({"a": {"settings": {"image": "x", "createOptions": case["in"]}}}));
        let output = edgectl(directory.path()).args(["render", "--compat", "-o", "-"]).output().unwrap();
        let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut settings =
            manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["a"]["settings"].clone();
        settings.as_object_mut().unwrap().remove("image");
        assert_eq!(settings, case["out"]);
    }
}
