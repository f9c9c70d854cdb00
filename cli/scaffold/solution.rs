//! A new solution.

use std::path::{Path, PathBuf};

use crate::scaffold::error::ScaffoldError;
use crate::scaffold::language::Language;
use crate::scaffold::module;
use crate::scaffold::name::{ModuleName, SolutionName};
use crate::scaffold::staging::Staged;
use crate::scaffold::template::Template;

/// Makes the directory of a solution in `parent`: with a module that filters what the simulated temperature sensor
/// sends, if one is wanted. All of it or nothing is written. Returns its root.
pub fn create(
    parent: &Path,
    name: &SolutionName,
    filter: Option<(&ModuleName, &Language)>,
) -> Result<PathBuf, ScaffoldError> {
    let mut values = tera::Context::new();
    values.insert("name", name.as_str());
    values.insert("module", &filter.map(|(module, _)| module.as_str()));
    let mut files = Template::load("solution")?.render(&values)?;
    if let Some((module_name, language)) = filter {
        let directory = module::directory(Path::new(""), module_name);
        files.extend(module::render(module_name, language)?.into_iter().map(|mut file| {
            file.path = directory.join(&file.path);
            file
        }));
    }
    let root = parent.join(name.as_str());
    Staged::directory(&root, &files)?.commit()?;
    Ok(root)
}
