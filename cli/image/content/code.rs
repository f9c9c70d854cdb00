//! Code that is run as it is: the files of a module that go into its image.

use std::path::Path;

use super::content::Job;
use super::stage;
use crate::image::engine::dockerignore::Ignored;
use crate::image::error::ImageError;
use crate::image::oci::files::Files;

/// Where code lies in an image.
pub const PLACE: &str = "app";

/// What describes a build and takes no part in what was built.
fn is_about_build(name: &str) -> bool {
    matches!(name, "module.json" | ".dockerignore" | ".gitignore") || name.starts_with("Dockerfile")
}

/// The sources of a module, without what `.dockerignore` names.
pub fn files(job: Job<'_>) -> Result<Files, ImageError> {
    let directory = &job.module.directory;
    let paths = stage::files(job.root, directory);
    of(directory, paths.iter().map(AsRef::as_ref))
}

/// Files below a directory, without what the directory's `.dockerignore` names.
pub fn of<'a>(directory: &Path, paths: impl Iterator<Item = &'a Path>) -> Result<Files, ImageError> {
    let ignored = Ignored::of_context(directory, None)?;
    let mut files = Files::default();
    for path in paths {
        let relative = path.strip_prefix(directory).unwrap_or(path).to_string_lossy();
        if !is_about_build(&relative) && !ignored.has(&relative) {
            files.add_path(&format!("{PLACE}/{relative}"), path, directory)?;
        }
    }
    Ok(files)
}
