//! What modules are built and run with: Python, Node, Rust. What no module needs is only told, not asked for.

use std::fs;
use std::path::{Path, PathBuf};

use super::ask::{ask, dotted, version};
use super::check::{Check, Finding, Scope, listed};
use super::emulation::machine_of;
use super::patient::{Patient, Source};
use crate::image::workspace;

/// The oldest Python that the device SDK of the templates takes.
const OLDEST_PYTHON: [u32; 2] = [3, 8];
/// The oldest Node that its makers still look after.
const OLDEST_NODE: [u32; 2] = [20, 0];
/// The device SDK for Python, as it is installed and as it is imported.
const PYTHON_SDK: (&str, &str) = ("azure-iot-device", "azure/iot/device");

/// The checks of this file.
pub const CHECKS: &[Check] = &[
    Check { code: "DOC401", title: "Python is there and new enough", scope: Scope::Machine, examine: python },
    Check { code: "DOC402", title: "Python makes virtual environments", scope: Scope::Machine, examine: venv },
    Check {
        code: "DOC403",
        title: "modules in Python have the device SDK",
        scope: Scope::Solution,
        examine: python_sdk,
    },
    Check { code: "DOC404", title: "Node is there and new enough", scope: Scope::Machine, examine: node },
    Check {
        code: "DOC405",
        title: "modules in Node have what they need",
        scope: Scope::Solution,
        examine: node_modules,
    },
    Check { code: "DOC406", title: "Rust is there and new enough", scope: Scope::Machine, examine: rust },
    Check { code: "DOC407", title: "a linker for Rust is there", scope: Scope::Machine, examine: linker },
    Check { code: "DOC408", title: "Rust builds for the solution's platform", scope: Scope::Solution, examine: target },
];

/// The names of modules, for a sentence.
fn names(sources: &[Source]) -> String {
    listed(&sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>())
}

/// A tool that is not there: an error where modules need it.
fn absent(tool: &str, needed_by: &[Source]) -> Finding {
    let finding = Finding::error_if(!needed_by.is_empty(), format!("{tool} is not on the search path"));
    if needed_by.is_empty() {
        finding.cause("No module of this solution needs it.")
    } else {
        finding.cause(format!("{} cannot be built or run.", names(needed_by)))
    }
}

/// A tool's version against the oldest that will do.
fn new_enough(patient: &Patient<'_>, program: &Path, oldest: &[u32], needed_by: &[Source], mend: &str) -> Finding {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let answer = match ask(program, &["--version"], &patient.settings.directory) {
        Ok(answer) if answer.success => answer,
        Ok(answer) => {
            let said = answer.text.lines().next_back().unwrap_or("it says nothing").to_owned();
            return Finding::error_if(!needed_by.is_empty(), format!("{name} does not run: {said}")).mend(mend);
        }
        Err(error) => return Finding::error_if(!needed_by.is_empty(), error).mend(mend),
    };
    match version(&answer.text) {
        Some(found) if found.as_slice() >= oldest => Finding::ok(format!("{name} {}", dotted(&found))),
        Some(found) => Finding::error_if(
            !needed_by.is_empty(),
            format!("{name} {} is older than {}", dotted(&found), dotted(oldest)),
        )
        .cause(if needed_by.is_empty() {
            "No module of this solution needs it.".to_owned()
        } else {
            format!("{} may not build or run.", names(needed_by))
        })
        .mend(mend),
        None => Finding::note(format!("{name} does not say its version")),
    }
}

fn find_python(patient: &Patient<'_>) -> Option<PathBuf> {
    ["python3", "python"].iter().find_map(|name| patient.program(name))
}

fn python(patient: &Patient<'_>) -> Finding {
    let (modules, mend) = (patient.sources_in("python"), "sudo apt-get install python3 python3-venv");
    match find_python(patient) {
        None => absent("python3", &modules).mend(mend),
        Some(program) => new_enough(patient, &program, &OLDEST_PYTHON, &modules, mend),
    }
}

fn venv(patient: &Patient<'_>) -> Finding {
    let Some(program) = find_python(patient) else { return Finding::skipped("there is no Python") };
    match ask(&program, &["-c", "import venv, ensurepip"], &patient.settings.directory) {
        Ok(answer) if answer.success => Finding::ok("venv and ensurepip are there"),
        _ => {
            let modules = patient.sources_in("python");
            Finding::error_if(!modules.is_empty(), "its module venv or ensurepip is missing")
                .cause("`edgectl build` gives each module in Python a virtual environment.")
                .mend("sudo apt-get install python3-venv")
        }
    }
}

fn python_sdk(patient: &Patient<'_>) -> Finding {
    let modules = patient.sources_in("python");
    let Some(solution) = patient.solution.as_ref().filter(|_| !modules.is_empty()) else {
        return Finding::skipped("no module is in Python");
    };
    let asks = |source: &&Source| {
        let text = fs::read_to_string(source.directory.join("requirements.txt")).unwrap_or_default();
        text.lines().any(|line| line.trim().to_ascii_lowercase().replace('_', "-").starts_with(PYTHON_SDK.0))
    };
    let (asking, silent): (Vec<&Source>, Vec<&Source>) = modules.iter().partition(asks);
    if let Some(first) = silent.first() {
        let silent: Vec<&str> = silent.iter().map(|source| source.name.as_str()).collect();
        return Finding::warning(format!("requirements.txt of {} does not name {}", listed(&silent), PYTHON_SDK.0))
            .cause("A module needs it, or a client of its own, to find the edge hub.")
            .mend(format!("echo {} >> {}", PYTHON_SDK.0, first.directory.join("requirements.txt").display()));
    }
    let is_half_made = |source: &&&Source| {
        let workspace = workspace::path(solution, &source.directory);
        workspace.join("venv.stamp").is_file() && !has_package(&workspace.join("venv"))
    };
    let broken: Vec<&Source> = asking.iter().filter(is_half_made).copied().collect();
    let Some(first) = broken.first() else { return Finding::ok(format!("{} asks for it", names(&modules))) };
    let broken: Vec<&str> = broken.iter().map(|source| source.name.as_str()).collect();
    Finding::error(format!("the virtual environment of {} lacks it", listed(&broken)))
        .cause("The environment was changed after it was made, or Python was replaced by another version.")
        .mend(format!(
            "rm {} && edgectl build",
            workspace::path(solution, &first.directory).join("venv.stamp").display()
        ))
}

/// Whether a virtual environment has the SDK.
fn has_package(venv: &Path) -> bool {
    let versions = fs::read_dir(venv.join("lib")).into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("site-packages").join(PYTHON_SDK.1).is_dir())
}

fn node(patient: &Patient<'_>) -> Finding {
    let (modules, mend) = (patient.sources_in("node"), "sudo apt-get install nodejs npm");
    match patient.program("node") {
        None => absent("node", &modules).mend(mend),
        Some(program) => new_enough(patient, &program, &OLDEST_NODE, &modules, mend),
    }
}

fn node_modules(patient: &Patient<'_>) -> Finding {
    let modules = patient.sources_in("node");
    if modules.is_empty() {
        return Finding::skipped("no module is in Node");
    }
    let missing: Vec<&Source> =
        modules.iter().filter(|source| !source.directory.join("node_modules").is_dir()).collect();
    match missing.first() {
        None => Finding::ok(names(&modules)),
        Some(first) => Finding::note(format!("{} has no node_modules", first.name))
            .cause("It runs from its image alone.")
            .mend(format!("npm install --prefix {}", first.directory.display())),
    }
}

fn rust(patient: &Patient<'_>) -> Finding {
    let modules = patient.sources_in("rust");
    let mend = "rustup update stable, or install Rust as https://rustup.rs says";
    let (Some(_), Some(rustc)) = (patient.program("cargo"), patient.program("rustc")) else {
        return absent("cargo or rustc", &modules).mend(mend);
    };
    let oldest = modules.iter().filter_map(|source| wanted_rust(&source.directory)).max();
    new_enough(patient, &rustc, &oldest.unwrap_or_else(|| vec![1, 85]), &modules, mend)
}

/// The `rust-version` of a package, or what its edition needs.
fn wanted_rust(directory: &Path) -> Option<Vec<u32>> {
    let text = fs::read_to_string(directory.join("Cargo.toml")).ok()?;
    let line = text.lines().find(|line| line.trim_start().starts_with("rust-version"))?;
    version(line)
}

fn linker(patient: &Patient<'_>) -> Finding {
    if let Some(linker) = ["cc", "gcc", "clang"].iter().find_map(|name| patient.program(name)) {
        return Finding::ok(linker.display().to_string());
    }
    absent("a C compiler, with which Rust links,", &patient.sources_in("rust"))
        .mend("sudo apt-get install gcc libc6-dev")
}

fn target(patient: &Patient<'_>) -> Finding {
    let modules = patient.sources_in("rust");
    let (Some(Ok(template)), false) = (patient.template(), modules.is_empty()) else {
        return Finding::skipped("no module is in Rust");
    };
    let machine = machine_of(&template.platform);
    let triple = match machine {
        Some(machine) if machine == std::env::consts::ARCH => {
            return Finding::ok(format!("{} is this machine's own", template.platform));
        }
        Some("x86_64") => "x86_64-unknown-linux-gnu",
        Some("aarch64") => "aarch64-unknown-linux-gnu",
        Some("arm") => "armv7-unknown-linux-gnueabihf",
        _ => return Finding::skipped(format!("the platform {} names no architecture", template.platform)),
    };
    let sysroot =
        patient.program("rustc").and_then(|rustc| ask(&rustc, &["--print", "sysroot"], &modules[0].directory).ok());
    let installed =
        sysroot.is_some_and(|answer| Path::new(&answer.text).join("lib/rustlib").join(triple).join("lib").is_dir());
    if installed {
        return Finding::ok(format!("{triple} is installed"));
    }
    Finding::note(format!("the platform is {}, and the target {triple} is not installed", template.platform))
        .cause("Builds for that platform outside its Dockerfile fail; `edgectl build` itself makes processes of this machine.")
        .mend(format!("rustup target add {triple}"))
}
