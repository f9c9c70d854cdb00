//! Where a module is built: a folder of its own for all that is made on the way.

use std::path::{Component, Path, PathBuf};

use super::error::ImageError;
use super::records;
use crate::solution::solution::Solution;

/// The folder in a solution that modules usually lie in.
const MODULES: &str = "modules";

/// The folder of the module that lies in `directory`, which may not be there.
pub fn path(solution: &Solution, directory: &Path) -> PathBuf {
    solution.state().join("build").join(name(&solution.root, directory))
}

/// The same, made if it was not there.
pub fn make(solution: &Solution, directory: &Path) -> Result<PathBuf, ImageError> {
    let state = solution.state();
    records::create_private(&state).map_err(ImageError::io(&state))?;
    let workspace = path(solution, directory);
    std::fs::create_dir_all(&workspace).map_err(ImageError::io(&workspace))?;
    Ok(workspace)
}

/// The module's own name where it lies in the usual place, so that people find it, and else its whole way.
fn name(root: &Path, directory: &Path) -> String {
    let relative = directory.strip_prefix(root).unwrap_or(directory);
    let own = relative.strip_prefix(MODULES).unwrap_or(relative);
    let parts = own.components().filter(|part| !matches!(part, Component::RootDir));
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
    let is_usual = parts.len() == 1 && own != relative;
    if is_usual { parts.concat() } else { format!("+{}", parts.join("+")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_one_name_in_two_places_have_two_folders() {
        let name = |directory: &str| name(Path::new("/plant"), Path::new(directory));
        assert_eq!(name("/plant/modules/filter"), "filter");
        assert_eq!(name("/plant/modules/other/filter"), "+other+filter");
        assert_eq!(name("/plant/filter"), "+filter");
        assert_eq!(name("/elsewhere/filter"), "+elsewhere+filter");
    }
}
