//! Fetching images from a registry.

use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

use super::client::{Logins, Registry, RegistryError};
use super::content;
use super::reference::Reference;
use crate::image::error::ImageError;
use crate::image::oci::base;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, Index, MANIFEST, Manifest};
use crate::image::oci::store::Store;
use crate::image::platform::Platform;
use crate::output::progress::Transfer;

/// How much is fetched at once.
const AT_ONCE: usize = 4;
/// What we understand.
const KINDS: [&str; 4] = [INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
/// Most bytes of a manifest: registries take no larger ones.
const LIMIT: usize = 4 * 1024 * 1024;

/// Fetches the image for a platform into the store. Returns its manifest.
pub async fn pull(
    store: &Store,
    reference: &Reference,
    platform: &Platform,
    logins: &Logins,
    transfer: &Transfer,
) -> Result<Descriptor, RegistryError> {
    let registry = Registry::of(reference, logins).await?;
    let found = manifest(&registry, store, reference, reference.wanted()).await?;
    let chosen = if found.is_index() {
        let index: Index = store.document(&found)?;
        let offered = index.manifests.iter().filter_map(|entry| Some((entry, entry.platform.as_ref()?)));
        let chosen = offered.clone().find(|(_, offered)| platform.accepts(offered)).map(|(entry, _)| entry);
        let Some(chosen) = chosen else {
            let names: Vec<String> = offered.map(|(_, platform)| platform.to_string()).collect();
            let reason = format!("it has no image for {platform}, but for {}", names.join(", "));
            return Err(ImageError::NoImage { what: reference.to_string(), reason }.into());
        };
        manifest(&registry, store, reference, chosen.digest.as_str()).await?
    } else {
        found
    };
    let document: Manifest = store.document(&chosen)?;
    iter(document.content().cloned().collect::<Vec<_>>())
        .map(|blob| fetch(&registry, store, reference, blob, transfer))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    base::select(store, std::slice::from_ref(&chosen), platform, &reference.to_string()).map_err(Into::into)
}

async fn manifest(
    registry: &Registry,
    store: &Store,
    reference: &Reference,
    name: &str,
) -> Result<Descriptor, RegistryError> {
    let url = registry.url(&reference.repository, &format!("manifests/{name}"));
    let what = reference.to_string();
    let request = || registry.http().get(&url).header("accept", KINDS.join(", "));
    let (kind, bytes) = Registry::again(async || {
        let answer = registry.send(&reference.repository, "pull", &format!("pull {what}"), request).await?;
        if !answer.status().is_success() {
            return Err(registry.refused(answer, &what).await);
        }
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or(MANIFEST).to_owned();
        Ok((kind, answer.bytes().await.map_err(|error| registry.broken_off(&what, &error))?))
    })
    .await?;
    let wrong = |reason: &str| ImageError::NoImage { what: what.clone(), reason: reason.to_owned() };
    if bytes.len() > LIMIT {
        return Err(wrong("its manifest is too long").into());
    }
    if name.parse::<Digest>().is_ok_and(|wanted| wanted != Digest::of(&bytes)) {
        return Err(wrong(&format!("the registry {} sent another manifest than {name}", registry.name())).into());
    }
    if !KINDS.contains(&kind.as_str()) {
        return Err(wrong(&format!("its manifest is of the kind {kind}")).into());
    }
    Ok(store.put(&kind, &bytes)?)
}

async fn fetch(
    registry: &Registry,
    store: &Store,
    reference: &Reference,
    blob: Descriptor,
    transfer: &Transfer,
) -> Result<(), RegistryError> {
    if store.verify(&blob) {
        return Ok(());
    }
    transfer.expect(blob.size);
    let url = registry.url(&reference.repository, &format!("blobs/{}", blob.digest));
    let what = format!("{} of {reference}", blob.digest);
    Registry::again(async || {
        let answer = registry
            .send(&reference.repository, "pull", &format!("pull {reference}"), || registry.http().get(&url))
            .await?;
        if !answer.status().is_success() {
            return Err(registry.refused(answer, &what).await);
        }
        content::receive(registry, store, &blob, answer, transfer.part(blob.size)).await
    })
    .await
}
