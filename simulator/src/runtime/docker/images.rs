//! Images of an engine: those that are there are taken as they are, the others are pulled.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptions;
use edgectl_schemas::manifest::image_reference;
use futures_util::StreamExt as _;
use serde_json::json;

use crate::runtime::docker::credentials;
use crate::runtime::docker::engine::{Engine, EngineError};
use crate::runtime::module_runtime::{RegistryCredential, RuntimeError};

/// The images of an engine.
#[derive(Debug)]
pub struct Images {
    engine: Engine,
    /// The folder with the user's own settings of engines.
    settings: Option<PathBuf>,
    /// Why images could not be pulled, so that who needs one is told the same.
    failures: Mutex<HashMap<String, String>>,
}

impl Images {
    /// The images of an engine. The folder has the user's `config.json` with access to registries.
    pub fn new(engine: Engine, settings: Option<PathBuf>) -> Self {
        Self { engine, settings, failures: Mutex::default() }
    }

    /// Sees to it that an image is there and can run.
    pub async fn ensure(&self, image: &str, credential: Option<&RegistryCredential>) -> Result<(), RuntimeError> {
        self.failures().remove(image);
        if self.inspect(image).await?.is_none()
            && let Err(error) = self.pull(image, credential).await
        {
            if error.is_lost() {
                return Err(error.into());
            }
            let advice = format!("it is not on the engine and cannot be pulled; {error}");
            self.failures().insert(image.to_owned(), advice.clone());
            return Err(RuntimeError::ImageNotAvailable { image: image.to_owned(), advice });
        }
        self.check(image).await
    }

    /// Says why an image cannot run, if it cannot.
    pub async fn check(&self, image: &str) -> Result<(), RuntimeError> {
        let Some(found) = self.inspect(image).await? else {
            return Err(self.absent(image));
        };
        let (Some(of_image), Some(of_engine)) = (found.architecture.as_deref(), self.engine.architecture()) else {
            return Ok(());
        };
        if of_image.is_empty() || of_image == of_engine || self.engine.is_local() && is_emulated(of_image) {
            return Ok(());
        }
        let advice = format!(
            "it is for {of_image} and the engine runs {of_engine}; build it for {of_engine}, or install QEMU's binfmt \
             handlers"
        );
        Err(RuntimeError::ImageNotAvailable { image: image.to_owned(), advice })
    }

    /// The architecture that an image is for, in the engine's word; none if it is not there.
    pub async fn architecture(&self, image: &str) -> Option<String> {
        self.inspect(image).await.ok()??.architecture
    }

    /// Why an image is not there.
    fn absent(&self, image: &str) -> RuntimeError {
        let known = self.failures().get(image).cloned();
        let advice = known.unwrap_or_else(|| "it is not on the engine; `docker pull` or build it".to_owned());
        RuntimeError::ImageNotAvailable { image: image.to_owned(), advice }
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        // A map is never half changed.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn inspect(&self, image: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.engine.docker().inspect_image(image).await.map_err(|error| self.engine.explain(error)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, image: &str, credential: Option<&RegistryCredential>) -> Result<(), EngineError> {
        let own = match credential {
            Some(credential) => Some(credential.clone()),
            None => self.own_credential(image).await,
        };
        let mut docker = self.engine.docker().clone();
        if let Some(credential) = own {
            let login = if credential.username == credentials::TOKEN {
                json!({ "identitytoken": credential.password, "serveraddress": credential.address })
            } else {
                json!({
                    "username": credential.username, "password": credential.password, "serveraddress": credential.address
                })
            };
            // Set here, because the engine wants the alphabet for addresses, which the client does not use.
            let header = URL_SAFE.encode(login.to_string());
            docker = docker.with_request_modifier(move |mut request| {
                if let Ok(value) = header.as_str().try_into() {
                    request.headers_mut().insert("x-registry-auth", value);
                }
                request
            });
        }
        // Without a tag the engine would take all there are.
        let options = CreateImageOptions { from_image: Some(image.to_owned()), ..CreateImageOptions::default() };
        let mut progress = docker.create_image(Some(options), None, None);
        tracing::info!(image, "pulling");
        // Errors come in the middle of what goes well.
        while let Some(step) = progress.next().await {
            step.map_err(|error| self.engine.explain(error))?;
        }
        Ok(())
    }

    async fn own_credential(&self, image: &str) -> Option<RegistryCredential> {
        let settings = self.settings.as_deref()?;
        // What everybody may pull needs no login; where one is needed, the engine says so.
        credentials::find(settings, image_reference::registry(image))
            .await
            .inspect_err(|error| tracing::warn!(image, %error, "pulling without a login"))
            .ok()
            .flatten()
    }
}

/// Whether the kernel hands programs of an architecture to an emulator.
fn is_emulated(architecture: &str) -> bool {
    let machine = match architecture {
        "arm64" => "aarch64",
        "amd64" => "x86_64",
        "386" => "i386",
        other => other,
    };
    Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{machine}")).exists()
}
