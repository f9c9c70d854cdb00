//! `edgectl build` of images, without a container engine: what is in them, for which platforms, and when they are built.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, names, refused};
use crate::build::{BROKEN, Files, RUST, programs, run_record, solution};
use crate::docker_engine;

pub const C: Files = &[("main.c", "#include <stdio.h>\nint main(void) { puts(\"it runs\"); }\n")];
const MAKE: Files = &[
    ("maker.c", "#include <stdio.h>\nint main(void) { puts(\"made\"); }\n"),
    ("Makefile", "maker: maker.c\n\t$(CC) $(CFLAGS) -o $@ $< $(LDFLAGS)\n"),
];
const GO: Files = &[
    ("go.mod", "module gopher\n\ngo 1.19\n"),
    ("main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"it runs\") }\n"),
];
pub const PYTHON: Files = &[("requirements.txt", ""), ("main.py", "print('it runs')\n")];

pub fn result(place: &Path, arguments: &[&str]) -> Value {
    let assert = edgectl(place).args(["build", "--json"]).args(arguments).assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

pub fn statuses(result: &Value) -> Vec<&str> {
    result["modules"].as_array().unwrap().iter().map(|module| module["status"].as_str().unwrap()).collect()
}

pub fn digests(result: &Value) -> Vec<&str> {
    result["modules"].as_array().unwrap().iter().map(|module| module["digest"].as_str().unwrap()).collect()
}

fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    fs::read(layout.join("blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())).unwrap()
}

pub fn document(layout: &Path, digest: &Value) -> Value {
    serde_json::from_slice(&blob(layout, digest)).unwrap()
}

/// The files of an image.
pub fn unpacked(layout: &Path, manifest: &Value) -> TempDir {
    let place = tempdir().unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let archive = place.path().join("layer.tar.gz");
        fs::write(&archive, blob(layout, &layer["digest"])).unwrap();
        let mut tar = Command::new("tar");
        assert!(tar.arg("-C").arg(place.path()).arg("-xzf").arg(&archive).status().unwrap().success());
    }
    place
}

/// What an image prints that has one program, run by an emulator if it has to be.
pub fn run(layout: &Path, manifest: &Value, emulator: Option<&str>) -> String {
    let manifest = document(layout, &manifest["digest"]);
    let config = document(layout, &manifest["config"]["digest"]);
    let place = unpacked(layout, &manifest);
    let program = place.path().join(config["config"]["Entrypoint"][0].as_str().unwrap().trim_start_matches('/'));
    let mut command = match emulator {
        Some(emulator) => Command::new(emulator),
        None => Command::new(&program),
    };
    if emulator.is_some() {
        command.arg(&program);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn programs_in_c_and_go_are_built_for_three_platforms_and_are_the_same_bytes_anywhere() {
    let modules: &[(&str, &str, Files)] = &[("cee", "c", C), ("maker", "c", MAKE), ("gopher", "go", GO)];
    let (here, there) = (solution(modules), solution(modules));
    let arguments = ["-P", "amd64,arm64v8,arm32v7", "--output", "oci:out"];
    let first = result(here.path(), &arguments);
    let second = result(there.path(), &arguments);
    assert_eq!(digests(&first), digests(&second));
    assert_eq!(first["indexes"], second["indexes"]);
    assert_eq!(first["indexes"][0]["image"], "registry/cee:1");

    let out = here.path().join("out");
    for (name, words) in [("cee", "it runs\n"), ("maker", "made\n"), ("gopher", "it runs\n")] {
        let index = first["indexes"].as_array().unwrap().iter().find(|index| index["module"] == name).unwrap();
        let manifests = document(&out, &index["digest"])["manifests"].clone();
        let platforms: Vec<&Value> = manifests.as_array().unwrap().iter().map(|found| &found["platform"]).collect();
        assert_eq!(platforms[2], &json!({ "architecture": "arm", "os": "linux", "variant": "v7" }));
        for (manifest, emulator) in
            manifests.as_array().unwrap().iter().zip([None, Some("qemu-aarch64-static"), Some("qemu-arm-static")])
        {
            assert_eq!(run(&out, manifest, emulator), words, "{name} {emulator:?}");
        }
        let image = format!("oci:{}:registry/{name}:1-arm64v8", out.display());
        let told = Command::new("skopeo").args(["inspect", &image]).output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["Architecture"], "arm64");
        assert_eq!(told["Labels"]["org.opencontainers.image.title"], name);
    }
    let bill: Value =
        serde_json::from_slice(&fs::read(first["modules"][0]["sbom"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(bill["spdxVersion"], "SPDX-2.3");
}

#[test]
fn a_program_in_rust_is_compiled_for_another_platform() {
    let Ok(rustc) = std::env::var("EDGECTL_TEST_CROSS_RUSTC") else {
        println!("passed over: `tests/run.sh` provides a Rust compiler for arm64 on Debian 12");
        return;
    };
    let place = solution(&[("rusty", "rust", RUST)]);
    let mut command = edgectl(place.path());
    command.args(["build", "--json", "-P", "amd64,arm64v8", "-o", "oci:out"]).env("RUSTC", &rustc);
    let built: Value = serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap();
    for (module, emulator) in built["modules"].as_array().unwrap().iter().zip([None, Some("qemu-aarch64-static")]) {
        assert_eq!(run(&place.path().join("out"), module, emulator), "it runs\n");
    }
}

#[test]
fn modules_in_c_go_and_node_are_processes_too() {
    const NODE: Files = &[
        ("package.json", "{ \"name\": \"noddy\", \"version\": \"1.0.0\", \"main\": \"main.js\" }"),
        ("main.js", "console.log('it runs')\n"),
    ];
    let place = solution(&[("cee", "c", C), ("gopher", "go", GO), ("noddy", "javascript", NODE)]);
    assert_eq!(statuses(&result(place.path(), &[])), ["built", "built", "built"]);
    for name in ["cee", "gopher", "noddy"] {
        assert_eq!(run_record(place.path(), &format!("registry/{name}:1-amd64")), "it runs\n");
    }
    assert_eq!(statuses(&result(place.path(), &[])), ["cached", "cached", "cached"]);
    assert!(!place.path().join("modules/noddy/node_modules").exists());
}

#[test]
fn nothing_is_built_twice_and_why_something_was_is_told() {
    let place = solution(&[("cee", "c", C), ("rusty", "rust", RUST)]);
    let first = result(place.path(), &["--image"]);
    assert_eq!(statuses(&first), ["built", "built"]);
    let second = result(place.path(), &["--image"]);
    assert_eq!(statuses(&second), ["cached", "cached"]);
    assert_eq!(digests(&first), digests(&second));
    let source = place.path().join("modules/cee/main.c");
    fs::write(&source, fs::read_to_string(&source).unwrap().replace("runs", "hops")).unwrap();
    let third = result(place.path(), &["--image"]);
    assert_eq!(statuses(&third), ["built", "cached"]);
    assert_eq!(third["modules"][0]["reasons"], json!(["modules/cee/main.c changed"]));
    let told = edgectl(place.path()).args(["build", "--image", "--explain"]).assert().success();
    assert!(String::from_utf8_lossy(&told.get_output().stdout).contains("registry/cee:1-amd64: nothing changed"));
    let again = result(place.path(), &["--image", "--no-cache"]);
    assert_eq!(digests(&again), digests(&third));
    assert_eq!(again["modules"][0]["reasons"], json!(["it was asked for"]));
}

#[test]
fn what_was_damaged_in_the_store_is_made_anew() {
    let place = solution(&[("cee", "c", C)]);
    let first = result(place.path(), &["--output", "oci:out"]);
    let store = place.path().join(".edgectl/oci/blobs/sha256");
    for name in names(&store) {
        let path = store.join(&name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    fs::remove_dir_all(place.path().join("out")).unwrap();
    let second = result(place.path(), &["--output", "oci:out"]);
    assert_eq!(digests(&first), digests(&second));
    assert_eq!(second["modules"][0]["reasons"], json!(["what was built before is damaged or gone"]));
    let manifest = json!({ "digest": digests(&second)[0] });
    assert_eq!(run(&place.path().join("out"), &manifest, None), "it runs\n");
}

#[test]
fn the_revision_and_the_source_are_labels() {
    let place = solution(&[("cee", "c", C)]);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(place.path()).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
        let output = command.args(arguments).env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["remote", "add", "origin", "https://me:secret@example.com/s.git"]);
    fs::write(place.path().join(".gitignore"), ".edgectl\nout\n").unwrap();
    git(&["add", "-A"]);
    git(&["commit", "-qm", "first"]);
    let built = result(place.path(), &["--output", "oci:out"]);
    let out = place.path().join("out");
    let manifest = document(&out, &built["modules"][0]["digest"]);
    let config = document(&out, &manifest["config"]["digest"]);
    let label = |name: &str| config["config"]["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("revision"), git(&["rev-parse", "HEAD"]));
    assert_eq!(label("source"), "https://example.com/s.git");
    assert_eq!(label("created"), "2026-01-02T03:04:05Z");
    assert_eq!(config["created"], "2026-01-02T03:04:05Z");
    let dated = edgectl(place.path()).args(["build", "--json", "--image"]).env("SOURCE_DATE_EPOCH", "86400").assert();
    let dated: Value = serde_json::from_slice(&dated.success().get_output().stdout).unwrap();
    assert_eq!(dated["modules"][0]["reasons"], json!(["SOURCE_DATE_EPOCH changed"]));
}

/// A base image, which is a layout in the solution, with an interpreter that is none.
fn base(place: &Path, module: &str, layout: &Path) {
    let path = place.join("modules").join(module).join("module.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["edgectl"] = json!({ "builder": "own", "base": format!("oci:{}", layout.display()) });
    fs::write(path, file.to_string()).unwrap();
}

#[test]
fn code_in_python_is_a_layer_of_its_own_on_a_base() {
    let below = solution(&[("below", "c", C)]);
    result(below.path(), &["--output", "oci:out"]);
    let place = solution(&[("snake", "python", PYTHON)]);
    base(place.path(), "snake", &below.path().join("out"));
    fs::write(place.path().join("modules/snake/.dockerignore"), "notes\n").unwrap();
    fs::write(place.path().join("modules/snake/notes"), "x").unwrap();
    let arguments = ["--output", "oci:out"];
    let layers = |result: &Value| -> Vec<Value> {
        let manifest = document(&place.path().join("out"), &result["modules"][0]["digest"]);
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect()
    };
    let first = layers(&result(place.path(), &arguments));
    fs::write(place.path().join("modules/snake/main.py"), "print('changed')\n").unwrap();
    let built = result(place.path(), &arguments);
    let second = layers(&built);
    assert_eq!((first.len(), &first[..2]), (3, &second[..2]));
    assert_ne!(first[2], second[2]);
    let manifest = document(&place.path().join("out"), &built["modules"][0]["digest"]);
    let config = document(&place.path().join("out"), &manifest["config"]["digest"]);
    assert_eq!(config["config"]["Entrypoint"], json!(["python3", "-u", "main.py"]));
    let archive = place.path().join("code.tar.gz");
    fs::write(&archive, blob(&place.path().join("out"), &second[2])).unwrap();
    let listed = Command::new("tar").arg("-tzf").arg(&archive).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "app/\napp/main.py\napp/requirements.txt\n");
    // A base for one platform is none for another.
    let assert = edgectl(place.path()).args(["build", "--image", "-P", "arm64v8"]).assert();
    refused(assert, 5, "no image for linux/arm64, but for linux/amd64");
}

#[test]
fn what_cannot_be_an_image_is_refused() {
    let place = solution(&[("cee", "c", C), ("broken", "rust", BROKEN)]);
    let build = |arguments: &[&str]| edgectl(place.path()).args(["build", "--image"]).args(arguments).assert();
    let assert = build(&["broken"]);
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    refused(assert, 5, "module broken was not built");
    assert_eq!(text.matches("broken | error[E0308]: mismatched types").count(), 1, "{text}");

    let module = place.path().join("modules/cee");
    symlink("loop", module.join("loop")).unwrap();
    refused(build(&["cee"]), 5, "leads back to itself");
    fs::remove_file(module.join("loop")).unwrap();
    assert!(Command::new("mkfifo").arg(module.join("pipe")).status().unwrap().success());
    refused(build(&["cee"]), 5, "a device, a socket or a pipe");
    fs::remove_file(module.join("pipe")).unwrap();

    let none = programs(&[]);
    let assert = edgectl(place.path()).args(["build", "cee", "--image"]).env("PATH", none.path()).assert();
    refused(assert, 6, "there is no C compiler for linux/amd64");
    let assert =
        edgectl(place.path()).args(["build", "cee", "--image", "-P", "arm64v8"]).env("PATH", none.path()).assert();
    refused(assert, 6, "gcc-aarch64-linux-gnu");
    refused(build(&["cee", "--output", "tar:x"]), 2, "docker-archive:FILE");
    refused(edgectl(place.path()).args(["build", "-P", "amd64,arm64v8"]).assert(), 2, "Add --image");
    refused(edgectl(place.path()).args(["build", "cee", "--load"]).assert(), 6, "no container engine");
    assert!(!place.path().join(".edgectl/images").exists());
}

#[test]
fn images_are_loaded_into_an_engine_and_run_there() {
    let place = solution(&[("cee", "c", C), ("rusty", "rust", RUST)]);
    for module in ["cee", "rusty"] {
        let path = place.path().join("modules").join(module).join("module.json");
        let text = fs::read_to_string(&path).unwrap().replace("registry/", "edgectl-tests/");
        fs::write(path, text).unwrap();
    }
    edgectl(place.path()).args(["build", "--load"]).env("DOCKER_HOST", docker_engine::host()).assert().success();
    for module in ["cee", "rusty"] {
        let image = format!("edgectl-tests/{module}:1-amd64");
        assert_eq!(docker_engine::docker(&["run", "--rm", "--network", "none", &image]), "it runs");
    }
    let archive = place.path().join("images.tar");
    edgectl(place.path()).args(["build", "cee", "-o", "docker-archive:images.tar"]).assert().success();
    let said = docker_engine::docker(&["load", "-i", archive.to_str().unwrap()]);
    assert!(said.contains("edgectl-tests/cee:1-amd64"), "{said}");
    let image = format!("docker-archive:{}:edgectl-tests/cee:1-amd64", archive.display());
    let told = Command::new("skopeo").args(["inspect", &image]).output().unwrap();
    assert!(told.status.success(), "{told:?}");
}

/// Runs with a small disk for the solution's state, which nobody but the processes of this script sees.
const SMALL_DISK: &str = r#"
set -eu
mkdir .edgectl
mount -t tmpfs -o size=4m tmpfs .edgectl
status=0
why=$("$1" build --image 2>&1 >/dev/null) || status=$?
[ "$status" = 5 ] || { echo "ended with $status: $why"; exit 1; }
case $why in *'No space left'*) ;; *) echo "does not say why: $why"; exit 1 ;; esac
left=$(find .edgectl/oci -name '*.part')
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
rm modules/snake/large
"$1" build --image
"#;

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_layer_is_told_and_nothing_is_left_behind() {
    let place = solution(&[("snake", "python", &[("main.py", "print('it runs')\n")])]);
    let path = place.path().join("modules/snake/module.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["edgectl"] = json!({ "base": "scratch" });
    fs::write(path, file.to_string()).unwrap();
    let mut random = vec![0; 8 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
    fs::write(place.path().join("modules/snake/large"), random).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh"]);
    let output = command.arg(assert_cmd::cargo::cargo_bin!("edgectl")).current_dir(place.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
