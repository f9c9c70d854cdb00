//! A new solution.

use std::path::{Path, PathBuf};

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::module;
use crate::scaffold::name::{ModuleName, SolutionName};
use crate::scaffold::staging::Staged;
use crate::scaffold::template::{RenderedFile, Template};

/// A solution that can be made.
#[derive(Debug)]
pub struct PlannedSolution {
    /// Its root.
    pub root: PathBuf,
    /// Its files.
    pub files: Vec<RenderedFile>,
}

impl PlannedSolution {
    /// Prepares it; committing what is returned makes it.
    pub fn stage(&self) -> Result<Staged, ScaffoldError> {
        Staged::directory(&self.root, &self.files)
    }
}

/// The directory of a solution in `parent`: with a module that filters what the simulated temperature sensor sends, if
/// one is wanted; with values for the parameters of its template.
pub fn plain(
    parent: &Path,
    name: &SolutionName,
    filter: Option<(&ModuleName, &Template)>,
    filter_values: tera::Context,
) -> Result<PlannedSolution, ScaffoldError> {
    let mut values = tera::Context::new();
    values.insert("module", &filter.map(|(module, _)| module.as_str()));
    let mut planned = from_template(parent, name, &Template::built_in("solution/plain")?, values)?;
    if let Some((module_name, template)) = filter {
        let directory = module::directory(Path::new(""), module_name);
        let files = module::render(module_name, template, filter_values)?;
        planned.files.extend(files.into_iter().map(|mut file| {
            file.path = directory.join(&file.path);
            file
        }));
    }
    Ok(planned)
}

/// The directory of a solution in `parent`, from a template with values for its parameters.
pub fn from_template(
    parent: &Path,
    name: &SolutionName,
    template: &Template,
    mut values: tera::Context,
) -> Result<PlannedSolution, ScaffoldError> {
    values.insert("name", name.as_str());
    Ok(PlannedSolution { root: parent.join(name.as_str()), files: template.render(&values)? })
}
