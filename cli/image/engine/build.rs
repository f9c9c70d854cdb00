//! Building the images of modules that have a Dockerfile, and keeping them as those that we build ourselves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::image::engine::context::BuildContext;
use crate::image::engine::dockerfile::{self, DockerBuild};
use crate::image::engine::load;
use crate::image::engine::options::{BuildOptions, SecretSource};
use crate::image::engine::session::Lent;
use crate::image::error::ImageError;
use crate::image::images::{self, Image, Record, Site};
use crate::image::inputs::Inputs;
use crate::image::oci::base;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{Descriptor, MANIFEST, Manifest};
use crate::image::oci::layer::{self, Packing};
use crate::image::plan::PlannedModule;
use crate::image::platform::Platform;
use crate::output::progress::Line;
use crate::solution::dotenv;

/// Most bytes of a secret, as `BuildKit` has it.
const MAX_SECRET_BYTES: usize = 500 << 10;

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
        let own = &self.context.settings.environment;
        // A file that cannot be read was told of when the modules were planned.
        let environment = &dotenv::variables(&self.solution.root, own).unwrap_or_else(|_| own.clone());
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
        let lent = Arc::new(self.lent(module, &options, environment)?);
        let workspace = self.workspace(module)?;
        let name = Digest::of(module.image.as_bytes()).hexadecimal()[..16].to_owned();
        let archive = workspace.join(format!("{name}.tar"));
        context.write(&archive)?;
        let build = DockerBuild { module, context: &context, options: &options, platform, environment, lent };
        let made = self.on_engine(&build, &archive, line);
        let image = made.and_then(|()| self.take(&archive, known_platform, images::packing(module)));
        // It was for this build alone.
        let _ = fs::remove_file(&archive);
        let image = image?;
        self.keep(module, &Record { inputs, tools: Vec::new(), outside: Vec::new(), image: image.clone() })?;
        Ok(image)
    }

    /// What the engine may ask for while it builds a module.
    fn lent(
        &self,
        module: &PlannedModule,
        options: &BuildOptions,
        environment: &BTreeMap<String, String>,
    ) -> Result<Lent, ImageError> {
        let root = &self.solution.root;
        let secret = |(id, source): (&String, &SecretSource)| {
            let variable = |name: &String| environment.get(name).map(|value| value.clone().into_bytes());
            let file = |path: &Path| fs::read(root.join(path)).map_err(ImageError::io(root.join(path)));
            let value = match source {
                SecretSource::File(path) => file(path)?,
                SecretSource::Variable(name) => variable(name).ok_or_else(|| ImageError::Missing {
                    what: format!("the secret {id} is to be the variable {name}, which is not set"),
                    hint: "Set it in the environment, or in .env.".to_owned(),
                })?,
                SecretSource::Named => variable(id).map_or_else(|| file(Path::new(id)), Ok)?,
            };
            if value.len() > MAX_SECRET_BYTES {
                return Err(ImageError::Unbuildable {
                    reason: format!("the secret {id} has more than {} KiB", MAX_SECRET_BYTES >> 10),
                    hint: "Give the build less, as a key or a token.".to_owned(),
                });
            }
            Ok((id.clone(), value))
        };
        let agent = |(id, socket): (&String, &Option<PathBuf>)| {
            let own = || environment.get("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).map(PathBuf::from);
            let socket = socket.as_ref().map(|socket| root.join(socket)).or_else(own);
            let socket = socket.ok_or_else(|| ImageError::Missing {
                what: format!("the build is to use the SSH agent {id}, and none is running"),
                hint: "Start one, `eval $(ssh-agent)`, and give it the key with `ssh-add`.".to_owned(),
            })?;
            let kind = fs::metadata(&socket).map_err(ImageError::io(&socket))?.file_type();
            if !kind.is_socket() {
                return Err(ImageError::Unfit {
                    path: socket,
                    reason: "is no socket of an SSH agent".to_owned(),
                    hint: "Give keys to an agent with `ssh-add`, and use `--ssh default`.".to_owned(),
                });
            }
            Ok((id.clone(), socket))
        };
        Ok(Lent {
            secrets: options.secrets.iter().map(secret).collect::<Result<_, _>>()?,
            agents: options.agents.iter().map(agent).collect::<Result<_, _>>()?,
            logins: self.logins(module),
        })
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
    fn take(&self, archive: &Path, wanted: Option<Platform>, packing: Packing) -> Result<Image, ImageError> {
        let found = base::of_engine(&self.store, archive)?;
        let pack = |layer: &Descriptor| match packing {
            Packing::Plain => Ok(layer.clone()),
            Packing::Gzip => layer::compress(&self.store, layer),
        };
        let layers: Vec<Descriptor> = found.layers.iter().map(pack).collect::<Result<_, _>>()?;
        let platform = base::platform_of(&found.config).or(wanted).unwrap_or_else(Platform::of_machine);
        let size = layers.iter().map(|layer| layer.size).sum();
        let own_layers = layers.len();
        let manifest = json!(Manifest::new(found.config_at.clone(), layers)).to_string();
        let mut manifest = self.store.put(MANIFEST, manifest.as_bytes())?;
        manifest.platform = Some(platform);
        Ok(Image { manifest, bill: None, size, own_layers })
    }
}
