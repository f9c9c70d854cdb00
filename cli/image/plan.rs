//! Which modules are built, and under which image: those that the deployment template names with a placeholder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::image::error::ImageError;
use crate::solution::solution::Solution;

/// The platform that is built where none is asked for.
pub const DEFAULT_PLATFORM: &str = "amd64";

/// A module to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedModule {
    /// The modules of the manifest that run it; at least one.
    pub names: Vec<String>,
    /// Where its source is; absolute.
    pub directory: PathBuf,
    /// The image to build: repository and tag.
    pub image: String,
}

impl PlannedModule {
    /// The name that it is spoken of by.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// Finds the modules to build for a platform, in the manifest's order.
pub fn plan(
    solution: &Solution,
    environment: &BTreeMap<String, String>,
    platform: &str,
) -> Result<Vec<PlannedModule>, ImageError> {
    let values = values(&solution.root, environment);
    let root = solution.template.parent().unwrap_or(&solution.root);
    let template = read_document(&solution.template, &values)?;
    let empty = serde_json::Map::new();
    let modules = template
        .pointer("/modulesContent/$edgeAgent/properties.desired/modules")
        .or_else(|| template.pointer("/content/modulesContent/$edgeAgent/properties.desired/modules"))
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut planned: Vec<PlannedModule> = Vec::new();
    for (name, module) in modules {
        let Some(image) = module.pointer("/settings/image").and_then(Value::as_str) else { continue };
        let Some(directory) = image.strip_prefix("${MODULES.").and_then(|rest| rest.strip_suffix('}')) else {
            continue;
        };
        let directory = root.join("modules").join(directory);
        let image = tag(&directory, &values, platform)?;
        match planned.iter_mut().find(|other| other.image == image) {
            Some(other) => other.names.push(name.clone()),
            None => planned.push(PlannedModule { names: vec![name.clone()], directory, image }),
        }
    }
    Ok(planned)
}

/// The image of a module: its repository in lower case, its version and the platform.
fn tag(directory: &Path, values: &BTreeMap<String, String>, platform: &str) -> Result<String, ImageError> {
    let path = directory.join("module.json");
    let document = read_document(&path, values)?;
    let wrong = |what: &str, hint: String| ImageError::Input { reason: format!("{}: {what}", path.display()), hint };
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let repository = text("/image/repository")
        .ok_or_else(|| wrong("it has no image.repository", "Add it, as a text.".to_owned()))?
        .to_lowercase();
    let version = text("/image/tag/version").unwrap_or("0.0.0");
    let platforms = document.pointer("/image/tag/platforms").and_then(Value::as_object);
    if !platforms.is_some_and(|platforms| platforms.contains_key(platform)) {
        let known: Vec<&str> =
            platforms.into_iter().flat_map(|platforms| platforms.keys().map(String::as_str)).collect();
        let what = format!("it has no platform {platform:?}");
        return Err(wrong(&what, format!("It has {}; `--platform` says which one to build.", known.join(", "))));
    }
    Ok(format!("{repository}:{version}-{platform}"))
}

fn read_document(path: &Path, values: &BTreeMap<String, String>) -> Result<Value, ImageError> {
    let text = fs::read_to_string(path).map_err(ImageError::io(path))?;
    serde_json::from_str(&expand(&text, values)).map_err(|error| ImageError::Input {
        reason: format!("{}: not JSON: {error}", path.display()),
        hint: "Run `edgectl validate` to see where.".to_owned(),
    })
}

/// What placeholders stand for: the environment, and below it `.env`.
fn values(root: &Path, environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let text = fs::read_to_string(root.join(".env")).unwrap_or_default();
    let mut values: BTreeMap<String, String> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect();
    values.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    values
}

/// Puts values in the place of `${NAME}`; those without value stay.
fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("${");
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(name, rest)| Some((values.get(name)?, rest))) {
            Some((value, rest)) => {
                expanded.push_str(value);
                expanded.push_str(rest);
            }
            None => {
                expanded.push_str("${");
                expanded.push_str(part);
            }
        }
    }
    expanded
}
