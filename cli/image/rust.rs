//! Building a module with cargo.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Message, MetadataCommand, Package, Target};
use sha2::{Digest as _, Sha256};

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::records::digest;
use crate::image::tool;
use crate::output::progress::Line;

/// What compilers and build scripts say where the machine has no C compiler.
const NO_LINKER: [&str; 3] = ["linker `cc` not found", "failed to find tool \"cc\"", "failed to find tool \"gcc\""];

/// A program that cargo made.
#[derive(Debug)]
pub struct Compiled {
    /// Where it is.
    pub executable: PathBuf,
    /// Whether nothing had to be done.
    pub fresh: bool,
}

/// Builds the module in `directory` for this machine, with `workspace` for everything that is made on the way.
pub fn build(
    directory: &Path,
    workspace: &Path,
    environment: &BTreeMap<String, String>,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    let cargo = find_cargo(environment)?;
    let binary = binary_target(&cargo, directory, None)?;
    let mut command = command(&cargo, directory);
    command.arg("build").args(arguments(&binary, workspace)).arg("--release");
    let compiled = compile(command, &binary, line)?;
    built(&compiled.executable, compiled.fresh, directory)
}

/// Finds cargo.
pub fn find_cargo(environment: &BTreeMap<String, String>) -> Result<PathBuf, ImageError> {
    tool::find(environment, "cargo").ok_or_else(|| ImageError::Missing {
        what: "cargo, which builds modules in Rust, was not found".to_owned(),
        hint: "Install Rust, as https://rustup.rs says, and see that `cargo --version` works.".to_owned(),
    })
}

/// Cargo, to be run in a directory.
pub fn command(cargo: &Path, directory: &Path) -> Command {
    let mut command = Command::new(cargo);
    command.current_dir(directory);
    command
}

/// What cargo is told to build, and where.
pub fn arguments(binary: &Binary, workspace: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--message-format", "json-render-diagnostics", "--bin", &binary.name, "--target-dir"]
            .map(OsString::from)
            .into();
    arguments.push(workspace.join("target").into());
    if !binary.features.is_empty() {
        arguments.push("--features".into());
        arguments.push(binary.features.join(",").into());
    }
    arguments
}

/// Lets cargo compile. What the compiler says is shown.
pub fn compile(mut command: Command, binary: &Binary, line: &Line<'_>) -> Result<Compiled, ImageError> {
    let mut compiled: Option<Compiled> = None;
    let mut no_linker = false;
    let ended = tool::run(&mut command, |text| {
        if let Some(artifact) = artifact(text) {
            if let (Some(path), true) = (artifact.executable, artifact.target.name == binary.name) {
                compiled = Some(Compiled { executable: path.into(), fresh: artifact.fresh });
            }
        } else if !text.starts_with('{') {
            no_linker |= NO_LINKER.iter().any(|words| text.contains(words));
            if is_progress(text) {
                line.update(text.trim());
            } else {
                line.say(text);
            }
        }
    })?;
    match compiled {
        Some(compiled) if ended.success => Ok(compiled),
        _ if no_linker => Err(ImageError::Missing {
            what: "cargo found no C compiler, which it needs for linking".to_owned(),
            hint: "Install one; on Debian and Ubuntu: `apt-get install gcc libc6-dev`.".to_owned(),
        }),
        _ => Err(ImageError::Failed { tool: "cargo build", reason: None }),
    }
}

fn artifact(text: &str) -> Option<cargo_metadata::Artifact> {
    match serde_json::from_str(text).ok()? {
        Message::CompilerArtifact(artifact) => Some(artifact),
        _ => None,
    }
}

/// Whether a line of cargo says only how far it is: a word that ends in the twelfth column.
fn is_progress(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "Compiling",
        "Finished",
        "Downloading",
        "Downloaded",
        "Updating",
        "Locking",
        "Adding",
        "Blocking",
        "Fresh",
        "Building",
    ];
    text.get(..12).is_some_and(|start| WORDS.contains(&start.trim()))
}

/// A binary of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Its name.
    pub name: String,
    /// The features that it is built with only.
    pub features: Vec<String>,
}

/// The binary that is the module: the one that is named, if one is.
pub fn binary_target(cargo: &Path, directory: &Path, named: Option<&str>) -> Result<Binary, ImageError> {
    let manifest = directory.join("Cargo.toml");
    let metadata =
        MetadataCommand::new().cargo_path(cargo).manifest_path(&manifest).no_deps().exec().map_err(|error| {
            let reason = match error {
                cargo_metadata::Error::CargoMetadata { stderr } => stderr.trim().to_owned(),
                other => other.to_string(),
            };
            ImageError::Failed { tool: "cargo metadata", reason: Some(reason) }
        })?;
    let canonical = manifest.canonicalize().unwrap_or_else(|_| manifest.clone());
    let package = metadata.packages.iter().find(|package| package.manifest_path.as_std_path() == canonical);
    let package = package.ok_or_else(|| ImageError::Unbuildable {
        reason: format!("{} is no package", manifest.display()),
        hint: "A module is one package, with a `[package]` section.".to_owned(),
    })?;
    choose_binary(package, named)
}

fn choose_binary(package: &Package, named: Option<&str>) -> Result<Binary, ImageError> {
    let binaries: Vec<&Target> = package.targets.iter().filter(|target| target.is_bin()).collect();
    let names: Vec<&str> = binaries.iter().map(|target| target.name.as_str()).collect();
    let preferred = named.or(package.default_run.as_deref()).unwrap_or(package.name.as_str());
    let found = binaries.iter().find(|target| target.name == preferred);
    match (binaries.as_slice(), found) {
        (_, Some(target)) => Ok(binary(target)),
        ([only], None) if named.is_none() => Ok(binary(only)),
        ([], _) => Err(ImageError::Unbuildable {
            reason: format!("package {} has no binary", package.name),
            hint: "A module is a program: give it a src/main.rs.".to_owned(),
        }),
        _ if named.is_some() => Err(ImageError::Unbuildable {
            reason: format!("package {} has no binary {preferred}, but {}", package.name, names.join(", ")),
            hint: "Correct `program` in module.json.".to_owned(),
        }),
        _ => Err(ImageError::Unbuildable {
            reason: format!("package {} has several binaries: {}", package.name, names.join(", ")),
            hint: "Say which one is the module, with `default-run` in its Cargo.toml.".to_owned(),
        }),
    }
}

fn binary(target: &Target) -> Binary {
    Binary { name: target.name.clone(), features: target.required_features.clone() }
}

fn built(executable: &Path, fresh: bool, directory: &Path) -> Result<Built, ImageError> {
    let bytes = std::fs::read(executable).map_err(ImageError::io(executable))?;
    let mut hash = Sha256::new();
    hash.update(&bytes);
    Ok(Built {
        argv: vec![executable.to_string_lossy().into_owned()],
        cwd: directory.to_owned(),
        env: BTreeMap::new(),
        digest: digest(hash),
        cached: fresh,
    })
}
