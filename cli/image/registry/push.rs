//! Sending images to a registry: what it has is not sent again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Response, StatusCode};
use serde::Serialize;

use super::client::{Registry, RegistryError, is_passing};
use super::content;
use super::reference::Reference;
use crate::image::error::ImageError;
use crate::image::oci::document::Descriptor;
use crate::image::oci::layout;
use crate::image::oci::store::Store;
use crate::output::file::write_atomically;
use crate::output::progress::Transfer;

/// How much is sent at once.
const AT_ONCE: usize = 4;
/// What both sides may do.
const ACTIONS: &str = "pull,push";
/// The file with what is known to be in which repository.
const PLACES: &str = "pushed.json";

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The image's name.
    pub image: String,
    /// Its digest.
    pub digest: String,
    /// Blobs that were sent.
    #[serde(rename = "sent")]
    pub blobs: usize,
    /// In bytes.
    pub bytes: u64,
    /// Blobs that the registry took from another repository.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
    /// How long it took.
    #[serde(skip)]
    pub duration: Duration,
}

impl Sent {
    /// Whether all of it was there.
    pub fn is_unchanged(&self) -> bool {
        self.blobs + self.mounted + self.present == 0
    }

    /// What was done, for people.
    pub fn told(&self) -> String {
        let (image, kib) = (&self.image, self.bytes.div_ceil(1024));
        match (self.blobs, self.mounted, self.present) {
            (0, 0, 0) => format!("{image} is there"),
            (sent, mounted, present) => {
                format!("pushed {image}: {sent} blobs of {kib} KiB, {mounted} mounted, {present} there")
            }
        }
    }
}

/// Sends an image, or an index with all its images, under a name.
pub async fn push(
    registry: &Registry,
    store: &Store,
    entry: &Descriptor,
    reference: &Reference,
    transfer: &Transfer,
) -> Result<Sent, RegistryError> {
    let started = Instant::now();
    let mut sent = Sent { image: reference.to_string(), digest: entry.digest.to_string(), ..Sent::default() };
    if has_manifest(registry, entry, reference, reference.wanted()).await? {
        sent.duration = started.elapsed();
        return Ok(sent);
    }
    let mut places = Places::load(store.root(), registry.name());
    let all = layout::content(store, std::slice::from_ref(entry))?;
    let (manifests, blobs): (Vec<Descriptor>, Vec<Descriptor>) =
        all.into_iter().partition(|found| found.is_index() || found.is_manifest());
    let outcomes: Vec<(Descriptor, How)> = iter(&blobs)
        .map(|blob| {
            let from = places.another(blob, &reference.repository);
            async move { Ok((blob.clone(), send(registry, store, blob, reference, from, transfer).await?)) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .map_err(|error: RegistryError| error)?;
    for (blob, how) in outcomes {
        match how {
            How::Present => sent.present += 1,
            How::Mounted => sent.mounted += 1,
            How::Sent => (sent.blobs, sent.bytes) = (sent.blobs + 1, sent.bytes + blob.size),
        }
        places.add(&blob, &reference.repository);
    }
    // What an index names has to be there before it.
    for manifest in &manifests {
        let name = if manifest.digest == entry.digest { reference.wanted() } else { manifest.digest.as_str() };
        put_manifest(registry, store, manifest, reference, name).await?;
    }
    places.save()?;
    sent.duration = started.elapsed();
    Ok(sent)
}

/// Sends a manifest that says something about another, by its digest alone.
pub async fn push_referrer(
    registry: &Registry,
    store: &Store,
    entry: &Descriptor,
    reference: &Reference,
) -> Result<(), RegistryError> {
    if has_manifest(registry, entry, reference, entry.digest.as_str()).await? {
        return Ok(());
    }
    for part in layout::content(store, std::slice::from_ref(entry))? {
        if part.digest == entry.digest {
            put_manifest(registry, store, entry, reference, entry.digest.as_str()).await?;
        } else {
            send(registry, store, &part, reference, None, &Transfer::default()).await?;
        }
    }
    Ok(())
}

async fn has_manifest(
    registry: &Registry,
    entry: &Descriptor,
    reference: &Reference,
    name: &str,
) -> Result<bool, RegistryError> {
    let url = registry.url(&reference.repository, &format!("manifests/{name}"));
    let request = || registry.http().head(&url).header("accept", &entry.media_type);
    let answer = registry.send(&reference.repository, ACTIONS, &format!("push {reference}"), request).await?;
    let known = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
    let is_known = known == Some(entry.digest.as_str());
    Ok(has(registry, answer, &format!("push {reference}")).await? && is_known)
}

/// What an answer to `HEAD` says. A registry that is in trouble is not asked for more.
async fn has(registry: &Registry, answer: Response, what: &str) -> Result<bool, RegistryError> {
    if is_passing(answer.status()) {
        return Err(registry.refused(answer, what).await);
    }
    Ok(answer.status().is_success())
}

/// How a blob came to be in a repository.
enum How {
    Present,
    Mounted,
    Sent,
}

async fn send(
    registry: &Registry,
    store: &Store,
    blob: &Descriptor,
    reference: &Reference,
    from: Option<String>,
    transfer: &Transfer,
) -> Result<How, RegistryError> {
    let repository = &reference.repository;
    let what = format!("push {} to {repository}", blob.digest);
    let url = registry.url(repository, &format!("blobs/{}", blob.digest));
    let answer = registry.send(repository, ACTIONS, &what, || registry.http().head(&url)).await?;
    if has(registry, answer, &what).await? {
        return Ok(How::Present);
    }
    if !store.verify(blob) {
        return Err(ImageError::Corrupt { digest: blob.digest.to_string() }.into());
    }
    let mount = from.map(|from| format!("?mount={}&from={from}", blob.digest)).unwrap_or_default();
    let begun = begin(registry, repository, &mount, &what).await?;
    if begun.status() == StatusCode::CREATED {
        return Ok(How::Mounted);
    }
    transfer.expect(blob.size);
    // An upload that broke off may have left some of it behind, so another try begins another.
    let begun = Mutex::new(Some(begun));
    let put = async || {
        let known = begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begun = match known {
            Some(begun) => begun,
            None => begin(registry, repository, "", &what).await?,
        };
        let location = begun.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = registry.http().put(format!("{}{separator}digest={}", registry.absolute(location), blob.digest));
        let file = content::stream(&store.path(&blob.digest), 0).await?;
        let put = put.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, blob.size);
        let mut part = transfer.part(blob.size);
        Ok(put.body(Body::wrap_stream(file.inspect_ok(move |chunk| part.add(chunk.len())))))
    };
    let answer = registry.send_made(repository, ACTIONS, &what, put).await?;
    if answer.status().is_success() { Ok(How::Sent) } else { Err(registry.refused(answer, &what).await) }
}

/// Begins an upload; `mount` says where the registry may take the blob from instead.
async fn begin(registry: &Registry, repository: &str, mount: &str, what: &str) -> Result<Response, RegistryError> {
    let url = registry.url(repository, &format!("blobs/uploads/{mount}"));
    let request = || registry.http().post(&url).header(CONTENT_LENGTH, 0);
    let answer = registry.send(repository, ACTIONS, what, request).await?;
    match answer.status() {
        StatusCode::CREATED | StatusCode::ACCEPTED => Ok(answer),
        _ => Err(registry.refused(answer, what).await),
    }
}

async fn put_manifest(
    registry: &Registry,
    store: &Store,
    manifest: &Descriptor,
    reference: &Reference,
    name: &str,
) -> Result<(), RegistryError> {
    let bytes = store.read(manifest)?;
    let url = registry.url(&reference.repository, &format!("manifests/{name}"));
    let what = format!("push {reference}");
    let request =
        || registry.http().put(&url).header(CONTENT_TYPE, &manifest.media_type).body(Body::from(bytes.clone()));
    let answer = registry.send(&reference.repository, ACTIONS, &what, request).await?;
    if answer.status().is_success() { Ok(()) } else { Err(registry.refused(answer, &what).await) }
}

/// Where blobs were sent to before, so that a registry can take them from there.
struct Places {
    path: PathBuf,
    registry: String,
    all: BTreeMap<String, BTreeMap<String, String>>,
}

impl Places {
    fn load(root: &Path, registry: &str) -> Self {
        let path = root.join(PLACES);
        let all = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, registry: registry.to_owned(), all }
    }

    /// Another repository that a blob is in.
    fn another(&self, blob: &Descriptor, repository: &str) -> Option<String> {
        self.all.get(&self.registry)?.get(blob.digest.as_str()).filter(|known| *known != repository).cloned()
    }

    fn add(&mut self, blob: &Descriptor, repository: &str) {
        let known = self.all.entry(self.registry.clone()).or_default();
        known.entry(blob.digest.to_string()).or_insert_with(|| repository.to_owned());
    }

    fn save(&self) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec(&self.all).unwrap_or_default();
        write_atomically(&self.path, &bytes).map_err(ImageError::io(&self.path))
    }
}
