//! A new module: its directory, and its place in the deployment template.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::scaffold::deployment::Deployment;
use crate::scaffold::error::ScaffoldError;
use crate::scaffold::name::ModuleName;
use crate::scaffold::staging::Staged;
use crate::scaffold::template::{RenderedFile, Template};
use crate::solution::solution::Solution;

/// A module that can be added to a solution: its directory, its entry and a route in the deployment template, which
/// stays as it is otherwise.
#[derive(Debug)]
pub struct PlannedModule {
    /// The module's directory, absolute, and its files; none for one that is an image of others.
    pub directory: Option<(PathBuf, Vec<RenderedFile>)>,
    /// The route that takes what it sends to the cloud.
    pub route: String,
    deployment: Deployment,
    path: PathBuf,
}

/// A module that is prepared.
#[derive(Debug)]
pub struct StagedModule {
    directory: Option<(PathBuf, Staged)>,
    deployment: Staged,
}

/// A module from a template, with values for its parameters.
pub fn from_template(
    solution: &Solution,
    name: &ModuleName,
    template: &Template,
    values: tera::Context,
) -> Result<PlannedModule, ScaffoldError> {
    let mut planned = plan(solution, name, &format!("${{MODULES.{name}}}"), json!({}))?;
    let directory = directory(solution.template.parent().unwrap_or(&solution.root), name);
    planned.directory = Some((directory, render(name, template, values)?));
    Ok(planned)
}

/// A module that is an image which is there already; with a command of its own, if there is one.
pub fn from_image(
    solution: &Solution,
    name: &ModuleName,
    image: &str,
    command: &[String],
) -> Result<PlannedModule, ScaffoldError> {
    let options = if command.is_empty() { json!({}) } else { json!({ "Cmd": command }) };
    plan(solution, name, image, options)
}

fn plan(
    solution: &Solution,
    name: &ModuleName,
    image: &str,
    create_options: Value,
) -> Result<PlannedModule, ScaffoldError> {
    let path = &solution.template;
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ScaffoldError::NoDeployment(path.clone()),
        _ => ScaffoldError::Io { path: path.clone(), source },
    })?;
    let route = format!("{name}ToIoTHub");
    let deployment = Deployment::new(path, text)
        .with_module(name.as_str(), image, create_options)?
        .with_route(&route, &format!("FROM /messages/modules/{name}/outputs/* INTO $upstream"))?;
    Ok(PlannedModule { directory: None, route, deployment, path: path.clone() })
}

impl PlannedModule {
    /// Prepares it; committing what is returned adds it.
    pub fn stage(&self) -> Result<StagedModule, ScaffoldError> {
        let directory = match &self.directory {
            None => None,
            Some((place, files)) => Some((place.clone(), Staged::directory(place, files)?)),
        };
        Ok(StagedModule { directory, deployment: Staged::file(&self.path, self.deployment.text().as_bytes())? })
    }
}

impl StagedModule {
    /// Adds the module: all of it or nothing.
    pub fn commit(self) -> Result<(), ScaffoldError> {
        let Some((place, files)) = self.directory else { return self.deployment.commit() };
        files.commit()?;
        self.deployment.commit().inspect_err(|_| {
            // The directory was not there before, so nothing is lost with it.
            let _ = fs::remove_dir_all(&place);
        })
    }
}

/// Where a module's directory is, for a deployment template in `root`.
pub fn directory(root: &Path, name: &ModuleName) -> PathBuf {
    root.join("modules").join(name.as_str())
}

/// The files of a new module, relative to its directory.
pub fn render(
    name: &ModuleName,
    template: &Template,
    mut values: tera::Context,
) -> Result<Vec<RenderedFile>, ScaffoldError> {
    let lock = template.source("Cargo.lock.tera").unwrap_or_default();
    let dependencies: Vec<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    values.insert("name", name.as_str());
    values.insert("repository", &name.repository());
    values.insert("package", &name.package(&dependencies));
    template.render(&values)
}
