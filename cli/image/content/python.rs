//! A module in Python on a base image with its interpreter: packages in one layer, code in another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::code;
use super::content::{Content, Job, Package, Part};
use crate::image::error::ImageError;
use crate::image::oci::base::Base;
use crate::image::oci::config::Settings;
use crate::image::oci::digest::Digest;
use crate::image::oci::files::Files;
use crate::image::python::find_python;
use crate::image::tool;

/// The base of modules that name none.
pub const BASE: &str = "docker.io/library/python:3.12-slim-bookworm";

const ENTRY: &str = "main.py";
const REQUIREMENTS: &str = "requirements.txt";
/// Where packages lie in an image.
const PACKAGES: &str = "packages";

/// Collects the module's files, and its packages for the platform.
pub fn make(job: Job<'_>) -> Result<Content, ImageError> {
    let directory = &job.module.directory;
    let entry = job.module.build.program.as_deref().unwrap_or(ENTRY);
    if !directory.join(entry).is_file() {
        return Err(ImageError::Unbuildable {
            reason: format!("{} has no {entry}", directory.display()),
            hint: format!("A module in Python starts with {ENTRY}, or with `program` of module.json."),
        });
    }
    let code = Part { purpose: "code", files: code::files(job)?, key: None };
    let mut content = Content {
        settings: Settings {
            entrypoint: ["python3", "-u", entry].map(str::to_owned).to_vec(),
            directory: Some(format!("/{}", code::PLACE)),
            ..Settings::default()
        },
        ..Content::default()
    };
    let requirements = directory.join(REQUIREMENTS);
    if requirements.is_file() {
        let python = find_python(job.environment)?;
        let (place, key) = packages(job, &python, &requirements)?;
        let mut files = Files::default();
        files.add_tree(PACKAGES, &place)?;
        content.packages = installed(&place);
        content.tools.push(python);
        content.settings.environment.insert("PYTHONPATH".to_owned(), format!("/{PACKAGES}"));
        content.parts.push(Part { purpose: "packages", files, key: Some(key) });
    }
    content.parts.push(code);
    Ok(content)
}

/// Installs packages into a folder of the platform's own, unless they are there. Returns it and what it was made from.
fn packages(job: Job<'_>, python: &Path, requirements: &Path) -> Result<(PathBuf, String), ImageError> {
    let version = job.base.and_then(python_version);
    let text = fs::read(requirements).map_err(ImageError::io(requirements))?;
    let told = format!("{}\n{}\n{}\n", python.display(), job.platform, version.as_deref().unwrap_or_default());
    let key = Digest::of(&[told.as_bytes(), &text].concat()).to_string();
    let workspace = job.own_workspace("python")?;
    let (place, stamp) = (workspace.join(PACKAGES), workspace.join("stamp"));
    if place.is_dir() && fs::read_to_string(&stamp).is_ok_and(|known| known == key) {
        return Ok((place, key));
    }
    // The stamp is written last: packages without one were left half-made.
    for (path, result) in [(&stamp, fs::remove_file(&stamp)), (&place, fs::remove_dir_all(&place))] {
        result.or_else(absent).map_err(ImageError::io(path))?;
    }
    let mut command = Command::new(python);
    command.current_dir(&job.module.directory).args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ]);
    command.args(["--no-compile", "--target"]).arg(&place).args(["-r", REQUIREMENTS]);
    command.args(for_platform(job, version.as_deref()));
    let ended = tool::run(&mut command, |text| job.line.update(text))?;
    if !ended.success {
        return Err(refused(job, &ended.last_lines));
    }
    fs::create_dir_all(&place).map_err(ImageError::io(&place))?;
    // Programs among packages begin with this machine's interpreter.
    fs::remove_dir_all(place.join("bin")).or_else(absent).map_err(ImageError::io(&place))?;
    fs::write(&stamp, &key).map_err(ImageError::io(&stamp))?;
    Ok((place, key))
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// What tells pip to take packages for another machine, or another Python, than this one's.
fn for_platform(job: Job<'_>, version: Option<&str>) -> Vec<String> {
    let machine = match job.platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "arm" => "armv7l",
        "386" => "i686",
        other => other,
    };
    let mut arguments: Vec<String> = ["--implementation", "cp", "--only-binary", ":all:"].map(str::to_owned).to_vec();
    for tag in ["manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux"] {
        arguments.extend(["--platform".to_owned(), format!("{tag}_{machine}")]);
    }
    if let Some(version) = version {
        arguments.extend(["--python-version".to_owned(), version.to_owned()]);
    }
    arguments
}

/// The version of the base's interpreter, as official images tell it.
fn python_version(base: &Base) -> Option<String> {
    let environment = base.config.pointer("/config/Env").and_then(Value::as_array)?;
    let version =
        environment.iter().filter_map(Value::as_str).find_map(|entry| entry.strip_prefix("PYTHON_VERSION="))?;
    Some(version.split('.').take(2).collect::<Vec<_>>().join("."))
}

fn refused(job: Job<'_>, said: &[String]) -> ImageError {
    if said.iter().any(|line| line.contains("No module named pip")) {
        return ImageError::Missing {
            what: "pip, which installs what modules in Python need, was not found".to_owned(),
            hint: "Install it; on Debian and Ubuntu: `apt-get install python3-pip`.".to_owned(),
        };
    }
    let reasons: Vec<&str> =
        said.iter().map(String::as_str).filter(|text| text.trim_start().starts_with("ERROR")).collect();
    job.line.say(&if reasons.is_empty() { said.join("\n") } else { reasons.join("\n") });
    ImageError::Failed { tool: "pip install", reason: None }
}

/// The packages in a folder, by what they say of themselves.
fn installed(place: &Path) -> Vec<Package> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = entries.filter(|path| path.extension().is_some_and(|end| end == "dist-info"));
    let mut packages: Vec<Package> = folders
        .filter_map(|folder| {
            let text = fs::read_to_string(folder.join("METADATA")).ok()?;
            let head = text.split("\n\n").next().unwrap_or_default();
            let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            Some(Package {
                ecosystem: "pypi".to_owned(),
                name: field("Name: ")?,
                version: field("Version: ")?,
                license: field("License-Expression: "),
            })
        })
        .collect();
    packages.sort();
    packages
}
