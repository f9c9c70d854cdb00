//! Building the images of modules that have a Dockerfile, and keeping them as those that we build ourselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::image::engine::context::BuildContext;
use crate::image::engine::dockerfile::{self, DockerBuild};
use crate::image::engine::load;
use crate::image::engine::options::BuildOptions;
use crate::image::error::ImageError;
use crate::image::images::{Image, Record, Site};
use crate::image::inputs::Inputs;
use crate::image::oci::base;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{Descriptor, MANIFEST, Manifest};
use crate::image::oci::layer;
use crate::image::plan::PlannedModule;
use crate::image::platform::Platform;
use crate::output::progress::Line;

impl Site<'_> {
    /// Builds the module's Dockerfile, and takes the image into the store.
    pub fn build_with_engine(
        &self,
        module: &PlannedModule,
        line: &Line<'_>,
        reasons: &mut Vec<String>,
    ) -> Result<Image, ImageError> {
        if !module.dockerfile.is_file() {
            return Err(ImageError::Unbuildable {
                reason: format!("there is no {}", module.dockerfile.display()),
                hint: "Write it, correct `platforms` in module.json, or build without it: `--builder own`.".to_owned(),
            });
        }
        let options = BuildOptions::read(&module.options)?;
        let known_platform = module.runs_on().ok().flatten();
        let platform = options.platform.clone().or_else(|| known_platform.as_ref().map(ToString::to_string));
        let context = BuildContext::read(&module.context, &module.dockerfile)?;
        let environment = &self.context.settings.environment;
        let host = self.context.settings.engine_host.as_deref();
        let facts = BTreeMap::from([
            ("the builder".to_owned(), format!("the engine at {}", host.unwrap_or("the usual place"))),
            ("the image".to_owned(), module.image.clone()),
            ("the platform".to_owned(), platform.clone().unwrap_or_default()),
            ("`buildOptions`".to_owned(), json!(module.options).to_string()),
        ]);
        let known = self.record(module);
        let inputs = Inputs::gather(facts, context.paths(), known.as_ref().map(|known| &known.inputs))?;
        if let Some(image) = self.unchanged(known, &inputs, reasons) {
            return Ok(image);
        }
        let workspace = self.workspace(module)?;
        let name = Digest::of(module.image.as_bytes()).hexadecimal()[..16].to_owned();
        let archive = workspace.join(format!("{name}.tar"));
        context.write(&archive)?;
        let build = DockerBuild { module, context: &context, options: &options, platform, environment };
        let made = self.on_engine(&build, &archive, line);
        let image = made.and_then(|()| self.take(&archive, known_platform));
        // It was for this build alone.
        let _ = fs::remove_file(&archive);
        let image = image?;
        self.keep(module, &Record { inputs, tools: Vec::new(), outside: Vec::new(), image: image.clone() })?;
        Ok(image)
    }

    /// Builds an archive's context on the engine, and puts the image into the archive.
    fn on_engine(&self, build: &DockerBuild<'_>, archive: &Path, line: &Line<'_>) -> Result<(), ImageError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ImageError::io("the asynchronous runtime"))?;
        runtime.block_on(async {
            let host = self.context.settings.engine_host.as_deref();
            let engine =
                load::connect(host).await.map_err(|error| ImageError::NoEngine { reason: error.to_string() })?;
            build.run(&engine, archive, line).await?;
            line.update("taking the image from the engine");
            dockerfile::save(&engine, &build.module.image, archive).await
        })
    }

    /// Takes an engine's image into the store.
    fn take(&self, archive: &Path, wanted: Option<Platform>) -> Result<Image, ImageError> {
        let found = base::of_engine(&self.store, archive)?;
        let layers: Vec<Descriptor> =
            found.layers.iter().map(|layer| layer::compress(&self.store, layer)).collect::<Result<_, _>>()?;
        let platform = base::platform_of(&found.config).or(wanted).unwrap_or_else(Platform::of_machine);
        let size = layers.iter().map(|layer| layer.size).sum();
        let own_layers = layers.len();
        let manifest = json!(Manifest::new(found.config_at.clone(), layers)).to_string();
        let mut manifest = self.store.put(MANIFEST, manifest.as_bytes())?;
        manifest.platform = Some(platform);
        Ok(Image { manifest, bill: None, size, own_layers })
    }
}
