//! Building a module for Node: its packages with npm, in its own directory as people do, and what its script `build`
//! makes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::records::digest;
use crate::image::source_hash::hash_sources;
use crate::image::tool;
use crate::output::progress::Line;
use crate::solution::sources;

const PACKAGE: &str = "package.json";
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];
/// What else says how packages are installed.
const SETTINGS: &str = ".npmrc";
const PACKAGES: &str = "node_modules";
/// How the names of files end that Node reads as they are.
const SCRIPTS: [&str; 3] = ["js", "mjs", "cjs"];

/// Prepares the module in `directory` of the solution at `root`; `workspace` remembers what was done.
pub fn build(
    root: &Path,
    directory: &Path,
    workspace: &Path,
    environment: &BTreeMap<String, String>,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    let node = find(environment, "node", "nodejs")?;
    let package = read_package(directory)?;
    let entry = package.get("main").and_then(Value::as_str).unwrap_or("index.js");
    let has_build = package.pointer("/scripts/build").is_some_and(Value::is_string);

    let packages = packages_stamp(&node, directory)?;
    let packages_stamp = workspace.join("packages.stamp");
    let installed = is_known(&packages_stamp, &packages) && directory.join(PACKAGES).is_dir();
    let mut hash = Sha256::new();
    hash.update(&packages);
    hash_sources(root, directory, &mut hash)?;
    let built = digest(hash);
    let built_stamp = workspace.join("built.stamp");
    let cached = installed && is_known(&built_stamp, &built) && directory.join(entry).is_file();
    if !cached {
        let npm = find(environment, "npm", "npm")?;
        forget(&built_stamp)?;
        if !installed {
            // The stamp is written last: packages without one were left half-installed.
            forget(&packages_stamp)?;
            install(&npm, directory, line)?;
            write(&packages_stamp, &packages)?;
        }
        if has_build {
            run_script(&npm, directory, line)?;
        } else {
            check(&node, root, directory, line)?;
        }
        if !directory.join(entry).is_file() {
            return Err(ImageError::Unbuildable {
                reason: format!("{} has no {entry}", directory.display()),
                hint: "A module for Node starts with what `\"main\"` in its package.json names.".to_owned(),
            });
        }
        write(&built_stamp, &built)?;
    }
    Ok(Built {
        argv: vec![node.to_string_lossy().into_owned(), "--enable-source-maps".to_owned(), entry.to_owned()],
        cwd: directory.to_owned(),
        env: BTreeMap::new(),
        digest: built,
        cached,
    })
}

fn find(environment: &BTreeMap<String, String>, name: &str, debian: &str) -> Result<PathBuf, ImageError> {
    tool::find(environment, name).ok_or_else(|| ImageError::Missing {
        what: format!("{name}, which modules for Node need, was not found"),
        hint: format!("Install it; on Debian and Ubuntu: `apt-get install {debian}`."),
    })
}

fn read_package(directory: &Path) -> Result<Value, ImageError> {
    let path = directory.join(PACKAGE);
    let text = fs::read(&path).map_err(ImageError::io(&path))?;
    serde_json::from_slice(&text).map_err(|error| ImageError::Unbuildable {
        reason: format!("{}: {error}", path.display()),
        hint: "Mend it, so that it is JSON.".to_owned(),
    })
}

/// What decides which packages there are.
fn packages_stamp(node: &Path, directory: &Path) -> Result<String, ImageError> {
    let mut hash = Sha256::new();
    let ended = tool::run(Command::new(node).arg("--version"), |text| hash.update(text))?;
    if !ended.success {
        return Err(ImageError::Missing {
            what: format!("{} does not run", node.display()),
            hint: "See that `node --version` works.".to_owned(),
        });
    }
    for name in [PACKAGE, SETTINGS].into_iter().chain(LOCKS) {
        let content = fs::read(directory.join(name)).unwrap_or_default();
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
    }
    Ok(digest(hash))
}

fn install(npm: &Path, directory: &Path, line: &Line<'_>) -> Result<(), ImageError> {
    line.update("installing packages");
    let is_locked = LOCKS.iter().any(|lock| directory.join(lock).is_file());
    let mut command = Command::new(npm);
    command.arg(if is_locked { "ci" } else { "install" });
    if !is_locked {
        command.arg("--no-package-lock");
    }
    // Tools that the build needs are among those for development.
    command.args(["--include=dev", "--no-audit", "--no-fund", "--no-update-notifier"]).current_dir(directory);
    let ended = tool::run(&mut command, |text| line.update(text))?;
    if ended.success {
        return Ok(());
    }
    let errors: Vec<&str> =
        ended.last_lines.iter().filter_map(|text| text.strip_prefix("npm error ")).filter(is_telling).collect();
    line.say(&if errors.is_empty() { ended.last_lines.join("\n") } else { errors.join("\n") });
    Err(ImageError::Failed { tool: if is_locked { "npm ci" } else { "npm install" }, reason: None })
}

/// Whether a line of npm says something of the failure, and not of where its log is.
fn is_telling(text: &&str) -> bool {
    !text.trim().is_empty() && !text.starts_with("A complete log")
}

fn run_script(npm: &Path, directory: &Path, line: &Line<'_>) -> Result<(), ImageError> {
    line.update("npm run build");
    let mut command = Command::new(npm);
    command.args(["run", "--silent", "build"]).current_dir(directory);
    let ended = tool::run(&mut command, |text| line.update(text))?;
    if ended.success {
        return Ok(());
    }
    line.say(&ended.last_lines.join("\n"));
    Err(ImageError::Failed { tool: "npm run build", reason: None })
}

/// Refuses sources that Node would refuse: a module that cannot start is not built.
fn check(node: &Path, root: &Path, directory: &Path, line: &Line<'_>) -> Result<(), ImageError> {
    for entry in sources::walk(root, directory) {
        let path = entry.path();
        let is_script = path.extension().is_some_and(|end| SCRIPTS.iter().any(|script| end == *script));
        let Some(name) = path.strip_prefix(directory).ok().filter(|_| is_script) else { continue };
        let ended = tool::run(Command::new(node).arg("--check").arg(name).current_dir(directory), |_| {})?;
        if !ended.success {
            let said: Vec<&str> =
                ended.last_lines.iter().map(String::as_str).take_while(|text| !text.starts_with("    at ")).collect();
            line.say(said.join("\n").trim_end());
            return Err(ImageError::Failed { tool: "node --check", reason: None });
        }
    }
    Ok(())
}

fn is_known(stamp: &Path, value: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|known| known == value)
}

fn write(stamp: &Path, value: &str) -> Result<(), ImageError> {
    fs::write(stamp, value).map_err(ImageError::io(stamp))
}

fn forget(stamp: &Path) -> Result<(), ImageError> {
    match fs::remove_file(stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::io(stamp)(error)),
        _ => Ok(()),
    }
}
