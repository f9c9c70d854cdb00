//! The public behaviour vectors that speak of manifests: what a device takes has no error, what it refuses has one.

#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::{Findings, Severity};
use edgectl_schemas::document::document::{Document, Format};
use edgectl_schemas::manifest::checks::run::{Purpose, check};
use edgectl_schemas::manifest::image_reference::is_nested_agent;
use serde_json::{Value, json};

fn vectors(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("passed over: {} is not there", path.display());
    None
}

fn findings(manifest: &Value) -> Findings {
    let text = serde_json::to_string_pretty(manifest).unwrap();
    check(&Document::parse("manifest.json", text, Format::Json).unwrap(), Purpose::Manifest)
}

fn errors(manifest: &Value) -> Vec<String> {
    let found = findings(manifest);
    let errors = found.diagnostics.iter().filter(|found| found.rule.severity == Severity::Error);
    errors.map(|found| format!("{} at {}: {}", found.rule.code, found.path, found.message)).collect()
}

fn files(folder: &str) -> Vec<(String, Value)> {
    let Some(folder) = vectors(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), value)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn manifests_that_devices_take_have_no_error() {
    let wrong: Vec<String> = files("manifests_valid")
        .iter()
        .map(|(name, file)| (name, errors(&file["manifest"])))
        .filter(|(_, errors)| !errors.is_empty())
        .map(|(name, errors)| format!("{name}: {errors:#?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn manifests_that_devices_refuse_have_an_error() {
    for (name, file) in files("manifests_invalid") {
        let errors = errors(&file["manifest"]);
        assert!(!errors.is_empty(), "{name}: {}", file["reason"]);
    }
}

#[test]
fn agents_for_devices_below_others_are_told_by_their_images() {
    let Some(path) = vectors("daemon.json") else { return };
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap().iter();
    let mut checked = 0;
    for vector in vectors.filter(|vector| vector["op"] == "nested_agent_image_ok") {
        assert_eq!(json!(is_nested_agent(vector["input"].as_str().unwrap())), vector["expected"], "{vector}");
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn configurations_of_the_hub_are_taken_or_refused() {
    let Some(path) = vectors("hub_config.json") else { return };
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let base: Value = json!({"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}}, "modules": {},
        "systemModules": {"edgeAgent": {"type": "docker", "settings": {"image": "a:1"}},
            "edgeHub": {"type": "docker", "status": "running", "settings": {"image": "h:1"}}}});
    let manifest = |hub: &Value| {
        json!({"modulesContent": {"$edgeAgent": {"properties.desired": base},
        "$edgeHub": {"properties.desired": hub}}})
    };
    for vector in file["vectors"].as_array().unwrap() {
        let errors = errors(&manifest(&vector["desired"]));
        assert_eq!(errors.is_empty(), vector["expected"]["ok"] == true, "{}: {errors:?}", vector["id"]);
    }
    for vector in file["broker"].as_array().unwrap() {
        let hub = json!({"schemaVersion": "1.2", "routes": {}, "mqttBroker": vector["mqttBroker"],
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}});
        let errors = errors(&manifest(&hub));
        let expected = vector["errors"].as_array().unwrap();
        assert_eq!(errors.is_empty(), expected.is_empty(), "{}: {errors:?} {expected:?}", vector["id"]);
    }
}
