//! Which modules are built, and under which image: those that the deployment template names with a placeholder.

use std::path::PathBuf;

use crate::error::CommandError;
use crate::settings::Context;
use crate::solution::check;
use crate::solution::placeholder::ModuleImage;
use crate::solution::render::{RenderError, RenderOptions, render};
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
    /// The platform it is for, as `module.json` calls it.
    pub platform: String,
}

impl PlannedModule {
    /// The name that it is spoken of by.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

/// Finds the modules to build for a platform, in the manifest's order. What is wrong with the template is shown.
pub fn plan(solution: &Solution, context: &Context, platform: &str) -> Result<Vec<PlannedModule>, CommandError> {
    let environment = &context.settings.environment;
    let options = RenderOptions { platform: Some(platform), compat: false, environment };
    let rendered = match render(solution, options) {
        Err(RenderError::Unreadable(findings)) => {
            check::refuse_errors(&[*findings], context)?;
            Vec::new()
        }
        rendered => {
            let rendered = rendered?;
            check::refuse_errors(&rendered.findings, context)?;
            rendered.images
        }
    };
    Ok(of_images(rendered))
}

/// The modules to build for the images that a manifest uses and the solution makes.
pub fn of_images(images: Vec<ModuleImage>) -> Vec<PlannedModule> {
    let wanted = images.into_iter().filter(|image| !image.bypassed);
    wanted
        .map(|image| PlannedModule {
            names: image.modules,
            directory: image.directory,
            image: image.image,
            platform: image.platform,
        })
        .collect()
}
