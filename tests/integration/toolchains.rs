//! Images of modules that are compiled with `CMake`, zig and cargo-zigbuild, which come from Python's registry.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::binary::edgectl;
use crate::build::{Files, RUST, solution};
use crate::images::{C, digests, document, run, unpacked};
use crate::registry::based;
use crate::sdk::python_with;

/// A library in C++ with an interface for C, and a program in C.
const MIXED: Files = &[
    (
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.16)\nproject(mixed C CXX)\nadd_library(words STATIC words.cpp)\n\
         add_executable(mixed main.c)\ntarget_link_libraries(mixed words)\n",
    ),
    (
        "words.cpp",
        "#include <string>\nextern \"C\" const char *words() { static const std::string said = \"it runs, \" + std::string(__FILE__); return said.c_str(); }\n",
    ),
    ("main.c", "#include <stdio.h>\nconst char *words(void);\nint main(void) { puts(words()); return 0; }\n"),
];

/// A library and a program in C.
const PLAIN: Files = &[
    (
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.16)\nproject(plain C)\nadd_library(words STATIC words.c)\n\
         add_executable(plain main.c)\ntarget_link_libraries(plain words)\n\
         target_compile_definitions(plain PRIVATE MACHINE=\"${CMAKE_SYSTEM_PROCESSOR}\")\n",
    ),
    ("words.c", "const char *words(void) { return \"it runs on\"; }\n"),
    (
        "main.c",
        "#include <stdio.h>\nconst char *words(void);\nint main(void) { printf(\"%s %s\\n\", words(), MACHINE); return 0; }\n",
    ),
];

/// Which emulator runs programs for a platform, by its name in module.json.
const EMULATORS: [(&str, Option<&str>); 3] =
    [("amd64", None), ("arm64v8", Some("qemu-aarch64-static")), ("arm32v7", Some("qemu-arm-static"))];

/// The folder with the programs, which is made once.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let python =
            python_with("toolchains", &["cmake==4.4.4", "ziglang==0.17.1", "cargo-zigbuild==0.24.0"], "cmake, ziglang");
        python.parent().unwrap().to_owned()
    })
}

/// A search path with the tools and some programs of the machine, but without its compilers for other platforms.
fn path(programs: &[&str]) -> (TempDir, String) {
    let place = tempdir().unwrap();
    let own = std::env::var("PATH").unwrap();
    for name in programs {
        let found = std::env::split_paths(&own).map(|folder| folder.join(name)).find(|path| path.exists());
        symlink(found.unwrap_or_else(|| panic!("{name} on the search path")), place.path().join(name)).unwrap();
    }
    let path = format!("{}:{}", tools().display(), place.path().display());
    (place, path)
}

fn built(place: &Path, path: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = edgectl(place);
    command
        .args(["build", "--json", "-o", "oci:out"])
        .args(arguments)
        .env("PATH", path)
        .envs(variables.iter().copied());
    serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap()
}

#[test]
fn cmake_builds_for_other_machines_with_their_compilers() {
    let place = solution(&[("plain", "c", PLAIN)]);
    let path = format!("{}:{}", tools().display(), std::env::var("PATH").unwrap());
    let built = built(place.path(), &path, &["-P", "amd64,arm64v8,arm32v7"], &[]);
    let machines = ["x86_64", "aarch64", "armv7l"];
    for ((module, (name, emulator)), machine) in
        built["modules"].as_array().unwrap().iter().zip(EMULATORS).zip(machines)
    {
        assert_eq!(module["platform"], name);
        assert_eq!(run(&place.path().join("out"), module, emulator), format!("it runs on {machine}\n"));
    }
}

#[test]
fn zig_compiles_c_and_cpp_for_another_machine_and_gives_the_same_bytes_anywhere() {
    let (_programs, path) = path(&["make", "sh", "ar", "ranlib", "uname"]);
    let build = || {
        let place = solution(&[("mixed", "c", MIXED)]);
        let built = built(place.path(), &path, &["-P", "arm64v8"], &[]);
        (place, built)
    };
    let ((place, first), (_other, second)) = (build(), build());
    assert_eq!(digests(&first), digests(&second));
    let said = run(&place.path().join("out"), &first["modules"][0], EMULATORS[1].1);
    assert_eq!(said, "it runs, words.cpp\n");
}

#[test]
fn cargo_zigbuild_links_rust_where_there_is_no_other_linker() {
    let Ok(rustc) = std::env::var("EDGECTL_TEST_CROSS_RUSTC") else {
        println!("passed over: `tests/run.sh` provides a Rust compiler for arm64 on Debian 12");
        return;
    };
    // Debian's library for arm64 needs the C library of a base; any image stands for one.
    let below = solution(&[("cee", "c", C)]);
    built(below.path(), &std::env::var("PATH").unwrap(), &["-P", "arm64v8"], &[]);
    let place = solution(&[("rusty", "rust", RUST)]);
    based(place.path(), "rusty", &format!("oci:{}", below.path().join("out").display()));
    let (_programs, path) = path(&["cargo", "sh"]);
    let built = built(place.path(), &path, &["-P", "arm64v8"], &[("RUSTC", &rustc)]);
    let out = place.path().join("out");
    let manifest = document(&out, &built["modules"][0]["digest"]);
    let config = document(&out, &manifest["config"]["digest"]);
    let image = unpacked(&out, &manifest);
    let program = config["config"]["Entrypoint"][0].as_str().unwrap().trim_start_matches('/');
    let mut emulator = Command::new("qemu-aarch64-static");
    emulator.args(["-L", "/usr/aarch64-linux-gnu"]).arg(image.path().join(program));
    assert_eq!(String::from_utf8(emulator.output().unwrap().stdout).unwrap(), "it runs\n");
}
