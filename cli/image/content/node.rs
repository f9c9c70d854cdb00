//! A module for Node on a base image with its interpreter: packages in one layer, code in another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::code;
use super::content::{Content, Job, Package, Part};
use super::stage;
use crate::image::error::ImageError;
use crate::image::oci::config::Settings;
use crate::image::oci::digest::Digest;
use crate::image::oci::files::Files;
use crate::image::platform::Platform;
use crate::image::tool;

/// The base of modules that name none.
pub const BASE: &str = "docker.io/library/node:22-bookworm-slim";

const PACKAGE: &str = "package.json";
const LOCK: &str = "package-lock.json";
const MODULES: &str = "node_modules";
/// How the names of files end that Node reads as they are.
const SCRIPTS: [&str; 3] = ["js", "mjs", "cjs"];

/// Collects the module's files, built if it has a script for that, and its packages.
pub fn make(job: Job<'_>) -> Result<Content, ImageError> {
    let directory = &job.module.directory;
    let package = read_package(directory)?;
    let npm = find(job, "npm")?;
    let mut content = Content::default();
    let (dependencies, key) = dependencies(job, &npm, &package)?;
    if let Some(modules) = dependencies.as_ref().map(|place| place.join(MODULES)).filter(|modules| modules.is_dir()) {
        let mut files = Files::default();
        files.add_tree(&format!("{}/{MODULES}", code::PLACE), &modules)?;
        content.packages = installed(&modules);
        content.parts.push(Part { purpose: "packages", files, key: Some(key) });
    }
    let files = match package.pointer("/scripts/build") {
        Some(_) => {
            let built = build(job, &npm, &package)?;
            let paths: Vec<PathBuf> = made(&built)?;
            code::of(&built, paths.iter().map(AsRef::as_ref))?
        }
        None => code::files(job)?,
    };
    let entry = entry(job, &package);
    if !files.iter().any(|(path, _)| path == format!("{}/{entry}", code::PLACE)) {
        return Err(ImageError::Unbuildable {
            reason: format!("{} has no {entry}, which it starts with", directory.display()),
            hint: "Set `main` in its package.json.".to_owned(),
        });
    }
    content.parts.push(Part { purpose: "code", files, key: None });
    content.settings = Settings {
        entrypoint: vec!["node".to_owned(), entry],
        directory: Some(format!("/{}", code::PLACE)),
        environment: [("NODE_ENV".to_owned(), "production".to_owned())].into(),
        ..Settings::default()
    };
    content.tools.push(npm);
    Ok(content)
}

/// Makes a folder in which the module runs on this machine. Returns it, and the file to start with.
pub fn prepare(job: Job<'_>) -> Result<(PathBuf, String), ImageError> {
    let package = read_package(&job.module.directory)?;
    let npm = find(job, "npm")?;
    let place = build(job, &npm, &package)?;
    Ok((place, entry(job, &package)))
}

fn read_package(directory: &Path) -> Result<Value, ImageError> {
    let path = directory.join(PACKAGE);
    let bytes = fs::read(&path).map_err(ImageError::io(&path))?;
    serde_json::from_slice(&bytes).map_err(|error| ImageError::Unbuildable {
        reason: format!("{}: {error}", path.display()),
        hint: "Correct it; `npm pkg get` checks it, too.".to_owned(),
    })
}

/// Finds a program of Node.
pub fn find(job: Job<'_>, name: &str) -> Result<PathBuf, ImageError> {
    tool::find(job.environment, name).ok_or_else(|| ImageError::Missing {
        what: format!("{name}, which modules for Node need, was not found"),
        hint: "Install it; on Debian and Ubuntu: `apt-get install nodejs npm`.".to_owned(),
    })
}

/// The file that the module starts with.
fn entry(job: Job<'_>, package: &Value) -> String {
    let main = package.get("main").and_then(Value::as_str);
    let started = package
        .pointer("/scripts/start")
        .and_then(Value::as_str)
        .and_then(|script| script.strip_prefix("node ")?.split_whitespace().find(|word| !word.starts_with('-')));
    let entry = job.module.build.program.as_deref().or(main).or(started).unwrap_or("index.js");
    entry.trim_start_matches("./").to_owned()
}

/// Whether the module needs any packages to run.
fn has_dependencies(package: &Value) -> bool {
    ["dependencies", "optionalDependencies"]
        .iter()
        .any(|name| package.get(name).and_then(Value::as_object).is_some_and(|packages| !packages.is_empty()))
}

/// Installs what the module runs with. Returns the folder, and what it was made from.
fn dependencies(job: Job<'_>, npm: &Path, package: &Value) -> Result<(Option<PathBuf>, String), ImageError> {
    if !has_dependencies(package) {
        return Ok((None, String::new()));
    }
    let place = job.own_workspace("node")?.join("packages");
    let mut arguments = vec!["--omit=dev".to_owned()];
    if !Platform::of_machine().accepts(job.platform) {
        let machine = match job.platform.architecture.as_str() {
            "amd64" => "x64",
            "386" => "ia32",
            other => other,
        };
        // What a package compiles when it is installed would be for this machine.
        arguments.extend(["--os=linux".to_owned(), format!("--cpu={machine}"), "--ignore-scripts".to_owned()]);
    }
    let key = install(job, npm, &place, &arguments)?;
    Ok((Some(place), key))
}

/// Installs the packages of the module in a folder, unless they are there. Returns what they were made from.
fn install(job: Job<'_>, npm: &Path, place: &Path, arguments: &[String]) -> Result<String, ImageError> {
    fs::create_dir_all(place).map_err(ImageError::io(place))?;
    let mut hashed = format!("{}\n{}\n{}\n", npm.display(), job.platform, arguments.join(" ")).into_bytes();
    let mut is_locked = false;
    for name in [PACKAGE, LOCK, ".npmrc"] {
        let path = job.module.directory.join(name);
        if let Ok(bytes) = fs::read(&path) {
            hashed.extend_from_slice(&bytes);
            fs::write(place.join(name), &bytes).map_err(ImageError::io(place.join(name)))?;
            is_locked |= name == LOCK;
        }
    }
    let key = Digest::of(&hashed).to_string();
    let stamp = place.join(".edgectl-stamp");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == key) {
        return Ok(key);
    }
    let _ = fs::remove_file(&stamp);
    let mut command = Command::new(npm);
    command.current_dir(place).arg(if is_locked { "ci" } else { "install" }).args(arguments);
    command.args(["--no-audit", "--no-fund", "--no-update-notifier"]);
    run(job, &mut command, "npm install")?;
    fs::write(&stamp, &key).map_err(ImageError::io(stamp))?;
    Ok(key)
}

/// Copies the sources, installs all packages, and runs the script `build` if there is one.
fn build(job: Job<'_>, npm: &Path, package: &Value) -> Result<PathBuf, ImageError> {
    let place = job.own_workspace("node")?.join("module");
    stage::sync(job.root, &job.module.directory, &place)?;
    let mut hash = Sha256::new_with_prefix(install(job, npm, &place, &[])?);
    let sources = stage::files(job.root, &job.module.directory);
    for path in &sources {
        let bytes = fs::read(path).map_err(ImageError::io(path))?;
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    let key = Digest::of_hash(hash).to_string();
    let stamp = place.join(".edgectl-built");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == key) {
        return Ok(place);
    }
    let _ = fs::remove_file(&stamp);
    if package.pointer("/scripts/build").is_some() {
        run(job, Command::new(npm).current_dir(&place).args(["run", "--silent", "build"]), "npm run build")?;
    } else {
        check(job, &place, &sources)?;
    }
    fs::write(&stamp, &key).map_err(ImageError::io(stamp))?;
    Ok(place)
}

/// Refuses sources that Node would refuse: a module that cannot start is not built.
fn check(job: Job<'_>, place: &Path, sources: &[PathBuf]) -> Result<(), ImageError> {
    let Some(node) = tool::find(job.environment, "node") else { return Ok(()) };
    for path in sources {
        let is_script = path.extension().is_some_and(|end| SCRIPTS.iter().any(|script| end == *script));
        let Some(name) = path.strip_prefix(&job.module.directory).ok().filter(|_| is_script) else { continue };
        let mut said = Vec::new();
        let mut command = Command::new(&node);
        let ended = tool::run(command.arg("--check").arg(name).current_dir(place), |text| said.push(text.to_owned()))?;
        if !ended.success {
            let said: Vec<&str> =
                said.iter().map(String::as_str).take_while(|text| !text.starts_with("    at ")).collect();
            job.line.say(said.join("\n").trim_end());
            return Err(ImageError::Failed { tool: "node --check", reason: None });
        }
    }
    Ok(())
}

/// All files of a built module but its packages, in order.
pub fn made(place: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let (mut files, mut open) = (Vec::new(), vec![place.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(ImageError::io(&directory))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == MODULES || name.starts_with(".edgectl-") {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}

fn run(job: Job<'_>, command: &mut Command, name: &'static str) -> Result<(), ImageError> {
    let mut said = Vec::new();
    let ended = tool::run(command, |text| {
        job.line.update(text);
        said.push(text.to_owned());
    })?;
    if ended.success {
        return Ok(());
    }
    job.line.say(&said.join("\n"));
    Err(ImageError::Failed { tool: name, reason: None })
}

/// The packages in a folder, as npm keeps a list of them there.
fn installed(modules: &Path) -> Vec<Package> {
    let list = fs::read(modules.join(".package-lock.json")).unwrap_or_default();
    let list: Value = serde_json::from_slice(&list).unwrap_or_default();
    let mut packages: Vec<Package> = list
        .get("packages")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(path, package)| {
            Some(Package {
                ecosystem: "npm".to_owned(),
                name: path.rsplit_once("node_modules/")?.1.to_owned(),
                version: package.get("version")?.as_str()?.to_owned(),
                license: package.get("license").and_then(Value::as_str).map(str::to_owned),
            })
        })
        .collect();
    packages.sort();
    packages.dedup();
    packages
}
