//! A new module: its directory, and its place in the deployment template.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::scaffold::deployment::Deployment;
use crate::scaffold::error::ScaffoldError;
use crate::scaffold::language::Language;
use crate::scaffold::name::ModuleName;
use crate::scaffold::staging::Staged;
use crate::scaffold::template::RenderedFile;
use crate::solution::solution::Solution;

/// What was added to a solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The module's directory, absolute.
    pub directory: PathBuf,
    /// The route that takes what it sends to the cloud.
    pub route: String,
}

/// Adds a module to a solution: its directory, its entry and a route in the deployment template, which stays as it is
/// otherwise. All of it or nothing is written.
pub fn add(solution: &Solution, name: &ModuleName, language: &Language) -> Result<Added, ScaffoldError> {
    let path = &solution.template;
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ScaffoldError::NoDeployment(path.clone()),
        _ => ScaffoldError::Io { path: path.clone(), source },
    })?;
    let route = format!("{name}ToIoTHub");
    let edited = Deployment::new(path, text)
        .with_module(name.as_str())?
        .with_route(&route, &format!("FROM /messages/modules/{name}/outputs/* INTO $upstream"))?;

    let directory = directory(path.parent().unwrap_or(&solution.root), name);
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(|source| ScaffoldError::Io { path: parent.to_owned(), source })?;
    }
    let files = Staged::directory(&directory, &render(name, language)?)?;
    let template = Staged::file(path, edited.text().as_bytes())?;
    files.commit()?;
    if let Err(error) = template.commit() {
        // The directory was not there before, so nothing is lost with it.
        let _ = fs::remove_dir_all(&directory);
        return Err(error);
    }
    Ok(Added { directory, route })
}

/// Where a module's directory is, for a deployment template in `root`.
pub fn directory(root: &Path, name: &ModuleName) -> PathBuf {
    root.join("modules").join(name.as_str())
}

/// The files of a new module, relative to its directory.
pub fn render(name: &ModuleName, language: &Language) -> Result<Vec<RenderedFile>, ScaffoldError> {
    let lock = language.template.source("Cargo.lock.tera").unwrap_or_default();
    let dependencies: Vec<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let mut values = tera::Context::new();
    values.insert("name", name.as_str());
    values.insert("repository", &name.repository());
    values.insert("package", &name.package(&dependencies));
    language.template.render(&values)
}
