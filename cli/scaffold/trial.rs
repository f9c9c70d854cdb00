//! Trying a template: what is made from it is made where nobody sees it, checked like any solution, and removed again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgectl_schemas::diagnostic::Findings;

use crate::error::CommandError;
use crate::scaffold::description::Kind;
use crate::scaffold::error::ScaffoldError;
use crate::scaffold::module;
use crate::scaffold::name::{ModuleName, SolutionName};
use crate::scaffold::solution;
use crate::scaffold::template::{RenderedFile, Template};
use crate::solution::files::{check_all, find};
use crate::solution::module_json;
use crate::solution::render::RenderOptions;
use crate::solution::solution::Solution;

/// What things are called that are made for a trial.
const NAME: &str = "trial";

/// The files that a template makes, with values for its parameters.
pub fn files(template: &Template, values: tera::Context) -> Result<Vec<RenderedFile>, ScaffoldError> {
    match template.description.kind {
        Kind::Module => module::render(&ModuleName::new(NAME)?, template, values),
        Kind::Solution | Kind::Base => {
            Ok(solution::from_template(Path::new(""), &SolutionName::new(NAME)?, template, values)?.files)
        }
    }
}

/// Makes a solution from a template in the directory `scratch`, which is made and removed again, or a module in a
/// solution there. Returns the files that the template makes, and what is wrong with them.
pub fn run(
    template: &Template,
    values: tera::Context,
    scratch: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<(Vec<RenderedFile>, Vec<Findings>), CommandError> {
    let place = Removed(scratch.to_owned());
    let name = SolutionName::new(NAME)?;
    let made = if template.description.kind == Kind::Module {
        let planned = solution::plain(&place.0, &name, None, tera::Context::new())?;
        planned.stage()?.commit()?;
        let added = module::from_template(&Solution::load(&planned.root)?, &ModuleName::new(NAME)?, template, values)?;
        added.stage()?.commit()?;
        added.directory.map(|(_, files)| files).unwrap_or_default()
    } else {
        let planned = solution::from_template(&place.0, &name, template, values)?;
        planned.stage()?.commit()?;
        planned.files
    };
    let root = place.0.join(NAME);
    let options = RenderOptions { platform: None, compat: false, environment };
    let deployment = Solution::load(&root)?.template;
    let mut inputs = find(&root, Path::new(""));
    for input in &mut inputs {
        // What must be there is not passed over where it is not even JSON.
        input.named |= input.path == deployment || input.path.ends_with(module_json::FILE);
    }
    let mut found = check_all(&inputs, options);
    found.retain(|findings| !findings.diagnostics.is_empty());
    Ok((made, found))
}

/// A directory that is gone when this is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Nobody is left to tell where that fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
