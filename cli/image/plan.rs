//! Which modules are built, and under which image: those that the deployment template names with a placeholder.

use std::path::PathBuf;

use edgectl_simulator::runtime::module_runtime::RegistryCredential;
use serde_json::Value;

use crate::error::CommandError;
use crate::image::platform::{InvalidPlatform, Platform};
use crate::settings::Context;
use crate::solution::check;
use crate::solution::module_json::{BuildSettings, Builder};
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
    /// Its Dockerfile, absolute; it may not exist.
    pub dockerfile: PathBuf,
    /// The build context of the Dockerfile, absolute.
    pub context: PathBuf,
    /// Options for the engine's build.
    pub options: Vec<String>,
    /// How it is built.
    pub build: BuildSettings,
}

impl PlannedModule {
    /// The name that it is spoken of by.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// What the image runs on, where that is known.
    pub fn runs_on(&self) -> Result<Option<Platform>, InvalidPlatform> {
        match self.build.platforms.get(&self.platform) {
            Some(platform) => platform.parse().map(Some),
            None => Ok(Platform::of_name(&self.platform)),
        }
    }

    /// Who builds the image.
    pub fn builder(&self) -> Builder {
        let default = if self.dockerfile.is_file() { Builder::Dockerfile } else { Builder::Own };
        self.build.builder.unwrap_or(default)
    }

    /// The image for all platforms together: the tag without the platform at its end.
    pub fn image_of_all(&self) -> &str {
        self.image.strip_suffix(&self.platform).map_or(&self.image, |image| image.trim_end_matches('-'))
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

/// The credentials for registries that a solution's template holds, as far as they are filled in.
pub fn credentials(solution: &Solution, context: &Context, platform: &str) -> Vec<RegistryCredential> {
    let options = RenderOptions { platform: Some(platform), compat: true, environment: &context.settings.environment };
    let Ok(rendered) = render(solution, options) else { return Vec::new() };
    let pointer = "/modulesContent/$edgeAgent/properties.desired/runtime/settings/registryCredentials";
    let entries = rendered.manifest.pointer(pointer).and_then(Value::as_object);
    let read = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.contains('$'));
        Some(RegistryCredential {
            address: text("address")?.to_owned(),
            username: text("username")?.to_owned(),
            password: text("password")?.to_owned(),
        })
    };
    entries.into_iter().flatten().filter_map(|(_, entry)| read(entry)).collect()
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
            dockerfile: image.dockerfile,
            context: image.context,
            options: image.build_options,
            build: image.build,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Every image that another tool put into a manifest in the place of a placeholder is one that is built, for the same
    /// modules, and every one that is built is in it.
    #[test]
    fn images_and_tags_of_public_solutions_are_those_of_iotedgedev() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
        let Ok(index) = fs::read_to_string(corpus.join("GOLDEN.tsv")) else {
            println!("passed over: there is no {}", corpus.display());
            return;
        };
        let (mut planned, mut platforms) = (0, BTreeSet::new());
        for row in index.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
            if row[2] != "0" || row[4].is_empty() {
                continue;
            }
            let golden: serde_json::Value =
                serde_json::from_slice(&fs::read(corpus.join("golden").join(row[4])).unwrap()).unwrap();
            let template = corpus.join("files").join(row[0]);
            let solution = Solution::of_template(template.parent().unwrap(), &template).unwrap();
            let environment = BTreeMap::new();
            let options = RenderOptions { platform: Some(row[1]), compat: true, environment: &environment };
            let modules = of_images(render(&solution, options).unwrap().images);
            let text = golden.to_string();
            for module in &modules {
                assert!(text.contains(&format!("{:?}", module.image)), "{}: {}", row[0], module.image);
                assert!(module.image.ends_with(&module.platform), "{}", module.image);
                assert!(module.runs_on().is_ok() && !module.image_of_all().ends_with('-'));
                platforms.insert(module.platform.clone());
                planned += 1;
            }
        }
        assert!(planned > 100, "{planned}");
        assert!(platforms.contains("amd64") && platforms.contains("arm64v8"), "{platforms:?}");
    }
}
