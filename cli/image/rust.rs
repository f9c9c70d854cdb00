//! Building a module with cargo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Message, MetadataCommand, Package};

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::program;
use crate::image::tool;
use crate::output::progress::Line;

/// What compilers and build scripts say where the machine has no C compiler.
const NO_LINKER: [&str; 3] = ["linker `cc` not found", "failed to find tool \"cc\"", "failed to find tool \"gcc\""];

/// Builds the module in `directory`, with `workspace` for everything that is made on the way.
pub fn build(
    directory: &Path,
    workspace: &Path,
    environment: &BTreeMap<String, String>,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    let cargo = tool::find(environment, "cargo").ok_or_else(|| ImageError::Missing {
        what: "cargo, which builds modules in Rust, was not found".to_owned(),
        hint: "Install Rust, as https://rustup.rs says, and see that `cargo --version` works.".to_owned(),
    })?;
    let binary = binary_target(&cargo, directory)?;
    let mut command = Command::new(&cargo);
    command
        .args(["build", "--release", "--message-format", "json-render-diagnostics", "--bin", &binary, "--target-dir"])
        .arg(workspace.join("target"))
        .current_dir(directory);

    let mut executable: Option<(PathBuf, bool)> = None;
    let mut no_linker = false;
    let ended = tool::run(&mut command, |text| {
        if let Some(artifact) = artifact(text) {
            if let (Some(path), true) = (artifact.executable, artifact.target.name == binary) {
                executable = Some((path.into(), artifact.fresh));
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
    match executable {
        Some((executable, fresh)) if ended.success => program::built(&executable, fresh, directory),
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

/// The name of the binary that is the module.
fn binary_target(cargo: &Path, directory: &Path) -> Result<String, ImageError> {
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
    choose_binary(package)
}

fn choose_binary(package: &Package) -> Result<String, ImageError> {
    let binaries: Vec<&str> =
        package.targets.iter().filter(|target| target.is_bin()).map(|target| target.name.as_str()).collect();
    let preferred = package.default_run.as_deref().unwrap_or(package.name.as_str());
    match binaries.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(ImageError::Unbuildable {
            reason: format!("package {} has no binary", package.name),
            hint: "A module is a program: give it a src/main.rs.".to_owned(),
        }),
        several if several.contains(&preferred) => Ok(preferred.to_owned()),
        several => Err(ImageError::Unbuildable {
            reason: format!("package {} has several binaries: {}", package.name, several.join(", ")),
            hint: "Say which one is the module, with `default-run` in its Cargo.toml.".to_owned(),
        }),
    }
}
