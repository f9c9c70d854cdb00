//! `edgectl build` of modules with Dockerfiles, on a real engine.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::binary::{edgectl, refused};
use crate::build::{Files, solution};
use crate::docker_engine;
use crate::images::{document, statuses};

const FILES: Files = &[
    ("Dockerfile.amd64", "FROM scratch\nARG WORD=none\nLABEL word=$WORD\nCOPY kept /kept\n"),
    ("Dockerfile.arm64v8", "FROM scratch\nARG TARGETARCH\nLABEL word=$TARGETARCH\nCOPY kept /kept\n"),
    (".dockerignore", "ignored\n"),
    ("kept", "x"),
    ("ignored", "x"),
];

fn build(place: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = edgectl(place);
    command.args(["build", "--json"]).args(arguments).env("DOCKER_HOST", docker_engine::host()).assert()
}

fn result(place: &Path, arguments: &[&str]) -> Value {
    serde_json::from_slice(&build(place, arguments).success().get_output().stdout).unwrap()
}

fn with(place: &Path, change: impl FnOnce(&mut Value)) {
    let path = place.join("modules/filed/module.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["image"]["repository"] = json!("edgectl-tests/filed");
    change(&mut file);
    fs::write(path, file.to_string()).unwrap();
}

#[test]
fn a_dockerfile_is_built_for_its_platforms_with_arguments_and_without_what_is_ignored() {
    let place = solution(&[("filed", "csharp", FILES)]);
    with(place.path(), |file| file["image"]["buildOptions"] = json!(["--build-arg WORD=given"]));
    let arguments = ["-P", "amd64,arm64v8", "--output", "oci:out"];
    let first = result(place.path(), &arguments);
    assert_eq!(statuses(&first), ["built", "built"]);
    let out = place.path().join("out");
    for (index, (word, architecture)) in [("given", "amd64"), ("arm64", "arm64")].iter().enumerate() {
        let manifest = document(&out, &first["modules"][index]["digest"]);
        let config = document(&out, &manifest["config"]["digest"]);
        assert_eq!(config["config"]["Labels"]["word"], *word);
        assert_eq!(config["architecture"], *architecture);
    }
    assert_eq!(statuses(&result(place.path(), &arguments)), ["cached", "cached"]);
    fs::write(place.path().join("modules/filed/ignored"), "changed").unwrap();
    assert_eq!(statuses(&result(place.path(), &arguments)), ["cached", "cached"]);
    fs::write(place.path().join("modules/filed/kept"), "changed").unwrap();
    let changed = result(place.path(), &["--image"]);
    assert!(changed["modules"][0]["reasons"][0].as_str().unwrap().ends_with("kept changed"), "{changed}");
    assert_eq!(docker_engine::docker(&["ps", "-aq", "--filter", "ancestor=edgectl-tests/filed:1-amd64"]), "");
}

#[test]
fn what_an_engine_cannot_build_is_told() {
    let place = solution(&[("filed", "csharp", FILES)]);
    with(place.path(), |_| {});
    let dockerfile = place.path().join("modules/filed/Dockerfile.amd64");
    fs::write(&dockerfile, "FROM scratch\nCOPY nothing /x\n").unwrap();
    let assert = edgectl(place.path()).args(["build", "--image"]).env("DOCKER_HOST", docker_engine::host()).assert();
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    refused(assert, 5, "module filed was not built");
    assert!(text.contains("filed | ") && text.contains("nothing"), "{text}");

    let none = || edgectl(place.path()).args(["build", "--image"]).assert();
    refused(none(), 6, "a Dockerfile is built by a container engine");
    with(place.path(), |file| file["image"]["buildOptions"] = json!(["--ssh default"]));
    refused(none(), 5, "\"--ssh default\" is not supported");
    fs::remove_file(dockerfile).unwrap();
    with(place.path(), |file| file["edgectl"] = json!({ "builder": "dockerfile" }));
    refused(none(), 5, "there is no");
}
