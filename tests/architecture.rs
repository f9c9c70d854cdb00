//! The walls of the house: which package may know which, which room may know which, and what files are called.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The six arrows. A seventh needs an argument, and a line in `docs/decisions/`.
const ARROWS: [(&str, &str); 6] = [
    ("edgectl", "edgectl-simulator"),
    ("edgectl", "edgectl-schemas"),
    ("edgectl-simulator", "edgectl-hub"),
    ("edgectl-simulator", "edgectl-wire"),
    ("edgectl-simulator", "edgectl-schemas"),
    ("edgectl-hub", "edgectl-schemas"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_measured_is_built_as_what_is_used() {
    let fast = |manifest: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let packages = text.split("[profile.release.package.").skip(1);
        packages
            .filter(|part| part.contains("opt-level = 2"))
            .map(|part| part[..part.find(']').unwrap()].to_owned())
            .collect()
    };
    let used = fast("Cargo.toml");
    assert!(used.contains("edgectl-hub"), "{used:?}");
    assert_eq!(fast("benches/hub/Cargo.toml"), used);
}

#[test]
fn packages_know_each_other_by_six_arrows() {
    let metadata = MetadataCommand::new().no_deps().other_options(["--offline".to_owned()]).exec().unwrap();
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let found: BTreeSet<(String, String)> = packages
        .iter()
        .flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)))
        .filter(|(_, dependency)| dependency.kind == DependencyKind::Normal && ours.contains(dependency.name.as_str()))
        .map(|(package, dependency)| (package.name.to_string(), dependency.name.clone()))
        .collect();
    let allowed = ARROWS.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    assert_eq!(found, allowed);
}

#[test]
fn rooms_keep_to_themselves() {
    // Where, and what must not stand there.
    let walls = [
        ("simulator/hub/src/edge", "crate::cloud", "the edge hub reaches the cloud through the port alone"),
        ("simulator/hub/src/cloud", "crate::edge", "the cloud hub knows no edge hub"),
        ("simulator/hub/src", "tokio::net", "a hub opens no socket"),
        ("simulator/hub/src", "edgectl_wire", "a hub knows no protocol"),
        ("simulator/src/frontend", "crate::device", "a front end knows hubs, not devices"),
        ("schemas/src", "std::fs", "documents are pure"),
        ("schemas/src", "tokio", "documents are pure"),
        ("simulator/wire/src", "std::fs", "packets are pure"),
        ("simulator/wire/src", "tokio", "packets are pure"),
    ];
    for (room, forbidden, why) in walls {
        for file in sources(&root().join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let found = code.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(forbidden));
            assert!(found.is_none(), "{}: {why}: {}", file.display(), found.unwrap_or_default());
        }
    }
}

#[test]
fn only_the_settings_read_the_environment() {
    for file in sources(&root().join("cli")) {
        if file.ends_with("cli/settings.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for forbidden in ["std::env::var", "std::env::current_dir", "use std::env;"] {
            assert!(!code.contains(forbidden), "{}: {forbidden} belongs into cli/settings.rs", file.display());
        }
    }
}

#[test]
fn files_say_what_they_hold() {
    let banned = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
    for file in sources(root()) {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!banned.contains(&stem.as_str()), "{}: the name says nothing", file.display());
    }
}

#[test]
fn modules_define_nothing_in_mod_or_lib() {
    for file in sources(root()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name != "mod.rs" && name != "lib.rs" {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let definition = text.lines().find(|line| {
            let line = line.trim_start().trim_start_matches("pub ");
            ["fn ", "struct ", "enum ", "trait ", "impl ", "const ", "static "]
                .iter()
                .any(|word| line.starts_with(word))
        });
        assert!(definition.is_none(), "{}: {}", file.display(), definition.unwrap_or_default());
    }
}

/// All source files of ours below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !["target", "templates"].contains(&name.as_str()) {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
