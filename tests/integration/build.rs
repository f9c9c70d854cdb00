//! `edgectl build`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, names, refused};

/// Files with what they hold.
pub type Files = &'static [(&'static str, &'static str)];

/// A solution with modules that need nothing from a registry.
pub fn solution(modules: &[(&str, &str, Files)]) -> TempDir {
    let place = tempdir().unwrap();
    let mut entries = serde_json::Map::new();
    for (name, language, files) in modules {
        entries.insert((*name).to_owned(), json!({ "settings": { "image": format!("${{MODULES.{name}}}") } }));
        let directory = place.path().join("modules").join(name);
        let module = json!({
            "language": language,
            "image": {
                "repository": format!("registry/{name}"),
                "tag": { "version": "1", "platforms": {
                    "amd64": "./Dockerfile.amd64", "arm64v8": "./Dockerfile.arm64v8", "arm32v7": "./Dockerfile.arm32v7",
                } },
            },
        });
        fs::create_dir_all(directory.join("src")).unwrap();
        fs::write(directory.join("module.json"), module.to_string()).unwrap();
        for (path, content) in *files {
            fs::write(directory.join(path), content).unwrap();
        }
    }
    let deployment = json!({ "modulesContent": { "$edgeAgent": { "properties.desired": { "modules": entries } } } });
    fs::write(place.path().join("deployment.template.json"), deployment.to_string()).unwrap();
    place
}

const CARGO: &str = "[package]\nname = \"m\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n";
pub const RUST: Files = &[("Cargo.toml", CARGO), ("src/main.rs", "fn main() { println!(\"it runs\"); }\n")];
pub const BROKEN: Files = &[("Cargo.toml", CARGO), ("src/main.rs", "fn main() { let x: u8 = \"no\"; }\n")];
const PYTHON: Files = &[("requirements.txt", ""), ("main.py", "print('it runs')\n")];

fn result(place: &Path, arguments: &[&str]) -> Value {
    let assert = edgectl(place).args(["build", "--json"]).args(arguments).assert().success();
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

/// Runs what a record says, as an agent would, and returns what it printed.
pub fn run_record(place: &Path, image: &str) -> String {
    let images = place.join(".edgectl/images");
    let record: Value = names(&images)
        .iter()
        .map(|name| serde_json::from_slice::<Value>(&fs::read(images.join(name)).unwrap()).unwrap())
        .find(|record| record["image"] == image)
        .unwrap();
    let argv: Vec<&str> = record["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let output =
        process::Command::new(argv[0]).args(&argv[1..]).current_dir(record["cwd"].as_str().unwrap()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A directory with programs to be found, and no others.
pub fn programs(scripts: &[(&str, &str)]) -> TempDir {
    let place = tempdir().unwrap();
    for (name, script) in scripts {
        let path = place.path().join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    place
}

#[test]
fn modules_are_built_once_and_again_when_they_change() {
    let place = solution(&[("rusty", "rust", RUST), ("snake", "python", PYTHON)]);
    let first = result(place.path(), &[]);
    let status = |result: &Value| -> Vec<String> {
        result["modules"].as_array().unwrap().iter().map(|m| m["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(status(&first), ["built", "built"]);
    assert_eq!(first["modules"][0]["image"], "registry/rusty:1-amd64");
    assert_eq!(run_record(place.path(), "registry/rusty:1-amd64"), "it runs\n");
    assert_eq!(run_record(place.path(), "registry/snake:1-amd64"), "it runs\n");
    assert_eq!(fs::metadata(place.path().join(".edgectl")).unwrap().permissions().mode() & 0o777, 0o700);

    let second = result(place.path(), &[]);
    assert_eq!(status(&second), ["cached", "cached"]);
    assert_eq!(second["modules"][1]["digest"], first["modules"][1]["digest"]);

    fs::write(place.path().join("modules/snake/main.py"), "print('other')\n").unwrap();
    fs::write(place.path().join("modules/snake/requirements.txt"), "# changed\n").unwrap();
    let third = result(place.path(), &["snake"]);
    assert_eq!(status(&third), ["built"]);
    assert_ne!(third["modules"][0]["digest"], first["modules"][1]["digest"]);
    assert_eq!(run_record(place.path(), "registry/snake:1-amd64"), "other\n");
}

#[test]
fn what_the_compiler_says_is_shown_once_with_the_module_before_it() {
    let place = solution(&[("broken", "rust", BROKEN), ("snake", "python", PYTHON)]);
    let assert = edgectl(place.path()).arg("build").assert();
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    refused(assert, 5, "module broken was not built");
    assert_eq!(text.matches("broken | error[E0308]: mismatched types").count(), 1, "{text}");
    // The other module was built all the same.
    assert_eq!(run_record(place.path(), "registry/snake:1-amd64"), "it runs\n");
    assert_eq!(names(&place.path().join(".edgectl/images")).len(), 1);
}

#[test]
fn a_failure_is_a_result_in_json_too() {
    let place = solution(&[("broken", "rust", BROKEN)]);
    let assert = edgectl(place.path()).args(["build", "--json"]).assert().code(5);
    let result: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(result["error"]["kind"], "build");
    assert_eq!(result["error"]["details"]["modules"][0]["status"], "failed");
}

#[test]
fn missing_tools_are_named_with_what_to_do() {
    let rust = solution(&[("rusty", "rust", RUST)]);
    let python = solution(&[("snake", "python", PYTHON)]);
    let none = programs(&[]);
    let build = |place: &TempDir, path: &TempDir| edgectl(place.path()).arg("build").env("PATH", path.path()).assert();
    refused(build(&rust, &none), 6, "cargo, which builds modules in Rust, was not found");
    refused(build(&python, &none), 6, "python3, which modules in Python need, was not found");

    let no_venv = programs(&[(
        "python3",
        "#!/bin/sh\n[ \"$1\" = -c ] && exit 0\necho 'because ensurepip is not available'; exit 1\n",
    )]);
    refused(build(&python, &no_venv), 6, "apt-get install python3-venv");
    assert!(!python.path().join(".edgectl/images").exists());

    let no_linker = programs(&[]);
    for tool in ["cargo", "rustc"] {
        let real = real_tool(tool);
        std::os::unix::fs::symlink(real, no_linker.path().join(tool)).unwrap();
    }
    refused(build(&rust, &no_linker), 6, "no C compiler");
}

/// Where a tool of the toolchain itself is, behind what rustup puts in its place.
fn real_tool(name: &str) -> PathBuf {
    let output = process::Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("bin").join(name)
}

#[test]
fn an_interrupted_environment_is_made_anew() {
    let place = solution(&[("snake", "python", PYTHON)]);
    let venv = place.path().join(".edgectl/build/snake/venv");
    fs::create_dir_all(venv.join("bin")).unwrap();
    fs::write(venv.join("bin/python"), "half-made").unwrap();
    assert_eq!(result(place.path(), &[])["modules"][0]["status"], "built");
    assert_eq!(run_record(place.path(), "registry/snake:1-amd64"), "it runs\n");
}

#[test]
fn what_cannot_be_built_is_refused() {
    let place = solution(&[("rusty", "rust", RUST), ("sharp", "csharp", &[])]);
    let build = |arguments: &[&str]| edgectl(place.path()).arg("build").args(arguments).assert();
    refused(build(&["rustie"]), 2, "Did you mean `rusty`?");
    refused(build(&["nothing"]), 2, "There are rusty, sharp.");
    refused(build(&["rusty", "--platform", "riscv"]), 3, "has no image for the platform \"riscv\"");
    refused(build(&["sharp"]), 5, "csharp");
    let empty = tempdir().unwrap();
    refused(edgectl(empty.path()).arg("build").assert(), 2, "no solution in");
    fs::write(place.path().join("deployment.template.json"), "{").unwrap();
    refused(build(&[]), 3, "not JSON");
}

#[test]
fn a_library_is_no_module() {
    let place = solution(&[("rusty", "rust", &[("Cargo.toml", CARGO), ("src/lib.rs", "")])]);
    refused(edgectl(place.path()).arg("build").assert(), 5, "has no binary");
}

/// The templates as they are, from the registries: this is what a new user gets.
#[test]
fn the_templates_build_and_pass_their_own_tests() {
    let place = tempdir().unwrap();
    edgectl(place.path()).args(["new", "s", "--lang", "rust"]).assert().success();
    let root = place.path().join("s");
    edgectl(&root).args(["add", "module", "Snake", "--lang", "python"]).assert().success();
    let result = result(&root, &[]);
    let images: Vec<&Value> = result["modules"].as_array().unwrap().iter().map(|module| &module["image"]).collect();
    assert_eq!(images, ["localhost:5000/filter:0.0.1-amd64", "localhost:5000/snake:0.0.1-amd64"]);

    let cargo = process::Command::new("cargo")
        .args(["test", "--release", "--locked", "--target-dir"])
        .arg(root.join(".edgectl/build/filter/target"))
        .current_dir(root.join("modules/filter"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stdout));
    let python = process::Command::new(root.join(".edgectl/build/Snake/venv/bin/python"))
        .args(["-m", "unittest"])
        .current_dir(root.join("modules/Snake"))
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
}
