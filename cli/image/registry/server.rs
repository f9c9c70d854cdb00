//! A registry of our own for this machine: what engines and clients need of the distribution specification, on files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::content;
use super::reference::{is_repository, is_tag};
use crate::image::error::ImageError;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{Descriptor, INDEX, Index, MANIFEST, Manifest};
use crate::image::oci::store::{Incoming, Store};
use crate::output::file::write_atomically;

/// Most bytes of a manifest, as the specification has it.
const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;
/// Most uploads that are open at once; the oldest gives way.
const UPLOADS: usize = 256;
/// The folder with what is known of repositories.
const FOLDER: &str = "repositories";

/// A registry that serves a directory.
#[derive(Debug)]
pub struct RegistryServer {
    store: Store,
    repositories: Mutex<BTreeMap<String, Repository>>,
    uploads: Mutex<BTreeMap<u64, Incoming>>,
}

/// What is in a repository.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct Repository {
    /// Manifests by their tags.
    tags: BTreeMap<String, Digest>,
    /// Kinds and sizes of manifests.
    manifests: BTreeMap<Digest, Descriptor>,
    /// Manifests that refer to a manifest.
    referrers: BTreeMap<Digest, Vec<Descriptor>>,
}

/// Why a request is not answered as hoped: the code of the specification, and a word about it.
struct Refusal(StatusCode, &'static str, String);

type Answer = Result<Response<Body>, Refusal>;

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string())
    }
}

impl RegistryServer {
    /// The registry in a directory; what was there before is served again.
    pub fn open(root: &Path) -> Result<Arc<Self>, ImageError> {
        let mut repositories = BTreeMap::new();
        let folder = root.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(ImageError::io(&folder))?;
        for entry in std::fs::read_dir(&folder).map_err(ImageError::io(&folder))?.flatten() {
            let name = entry.file_name().to_string_lossy().replace('+', "/");
            let read = std::fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let (Some(name), Some(repository)) = (name.strip_suffix(".json"), read) {
                repositories.insert(name.to_owned(), repository);
            }
        }
        Ok(Arc::new(Self {
            store: Store::new(root),
            repositories: Mutex::new(repositories),
            uploads: Mutex::default(),
        }))
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let router = Router::new().fallback(handle).with_state(self);
        axum::serve(listener, router).await
    }

    fn repositories(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Repository>> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Incoming>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor of content in the store.
    fn blob(&self, digest: &Digest) -> Result<Descriptor, Refusal> {
        let size = self.store.path(digest).metadata().map_err(|_| unknown("BLOB_UNKNOWN", digest.as_str()))?.len();
        Ok(Descriptor::new("application/octet-stream", digest.clone(), size))
    }

    fn manifest(&self, repository: &str, name: &str) -> Result<Descriptor, Refusal> {
        let repositories = self.repositories();
        let known = repositories.get(repository).ok_or_else(|| unknown("NAME_UNKNOWN", repository))?;
        let digest = match name.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => known.tags.get(name).ok_or_else(|| unknown("MANIFEST_UNKNOWN", name))?.clone(),
        };
        known.manifests.get(&digest).cloned().ok_or_else(|| unknown("MANIFEST_UNKNOWN", name))
    }

    /// Changes what is known of a repository, on disk before anywhere else.
    fn change(&self, name: &str, change: impl FnOnce(&mut Repository)) -> Result<(), ImageError> {
        let mut repositories = self.repositories();
        let mut repository = repositories.get(name).cloned().unwrap_or_default();
        change(&mut repository);
        let path = self.record(name);
        write_atomically(&path, json!(repository).to_string().as_bytes()).map_err(ImageError::io(path))?;
        repositories.insert(name.to_owned(), repository);
        Ok(())
    }

    /// No repository has a plus in its name.
    fn record(&self, name: &str) -> PathBuf {
        self.store.root().join(FOLDER).join(format!("{}.json", name.replace('/', "+")))
    }
}

fn unknown(code: &'static str, what: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, code, format!("{what} is not known here"))
}

fn wrong(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, code, message.into())
}

async fn handle(State(server): State<Arc<RegistryServer>>, request: Request) -> Response<Body> {
    let answer = route(&server, request).await.unwrap_or_else(|Refusal(status, code, message)| {
        let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
        respond(status, &[(header::CONTENT_TYPE.as_str(), "application/json".to_owned())], body.into())
    });
    let mut answer = answer;
    let version = axum::http::HeaderValue::from_static("registry/2.0");
    answer.headers_mut().insert("docker-distribution-api-version", version);
    answer
}

/// What a path of the specification asks for.
async fn route(server: &RegistryServer, request: Request) -> Answer {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let rest = path.strip_prefix("/v2").ok_or_else(|| unknown("UNSUPPORTED", &path))?.trim_matches('/');
    if rest.is_empty() {
        return Ok(json_answer(&json!({})));
    }
    if rest == "_catalog" {
        let names: Vec<String> = server.repositories().keys().cloned().collect();
        return Ok(json_answer(&json!({ "repositories": names })));
    }
    let parts: Vec<&str> = rest.split('/').collect();
    let split = |tail: usize| {
        let name = parts[..parts.len().saturating_sub(tail)].join("/");
        if is_repository(&name) { Ok(name) } else { Err(wrong("NAME_INVALID", format!("{name:?} is no repository"))) }
    };
    match parts.as_slice() {
        [.., "tags", "list"] => tags(server, &split(2)?),
        [.., "manifests", name] => manifests(server, &split(2)?, name, &method, request).await,
        [.., "referrers", digest] => Ok(referrers(server, &split(2)?, &parse(digest)?, &query)),
        [.., "blobs", "uploads"] => start_upload(server, &split(2)?, &query, request).await,
        [.., "blobs", "uploads", id] => upload(server, &split(3)?, id, &method, &query, request).await,
        [.., "blobs", digest] => {
            split(2)?;
            blob(server, &parse(digest)?, &method, request.headers()).await
        }
        _ => Err(unknown("UNSUPPORTED", &path)),
    }
}

fn parse(digest: &str) -> Result<Digest, Refusal> {
    digest.parse().map_err(|error: crate::image::oci::digest::InvalidDigest| wrong("DIGEST_INVALID", error.to_string()))
}

fn tags(server: &RegistryServer, name: &str) -> Answer {
    let repositories = server.repositories();
    let known = repositories.get(name).ok_or_else(|| unknown("NAME_UNKNOWN", name))?;
    Ok(json_answer(&json!({ "name": name, "tags": known.tags.keys().collect::<Vec<_>>() })))
}

async fn manifests(server: &RegistryServer, repository: &str, name: &str, method: &Method, request: Request) -> Answer {
    if !is_tag(name) && name.parse::<Digest>().is_err() {
        return Err(wrong("MANIFEST_INVALID", format!("{name:?} is neither tag nor digest")));
    }
    match *method {
        Method::GET | Method::HEAD => {
            let found = server.manifest(repository, name)?;
            let bytes = server.store.read(&found)?;
            let headers = [
                (header::CONTENT_TYPE.as_str(), found.media_type),
                (header::CONTENT_LENGTH.as_str(), found.size.to_string()),
                ("docker-content-digest", found.digest.to_string()),
            ];
            Ok(respond(StatusCode::OK, &headers, if *method == Method::GET { bytes.into() } else { Body::empty() }))
        }
        Method::PUT => put_manifest(server, repository, name, request).await,
        Method::DELETE => {
            let found = server.manifest(repository, name)?.digest;
            server.change(repository, |known| {
                known.tags.retain(|tag, digest| *digest != found || (is_tag(name) && tag != name));
                if !is_tag(name) {
                    known.manifests.remove(&found);
                }
            })?;
            Ok(respond(StatusCode::ACCEPTED, &[], Body::empty()))
        }
        _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", method.to_string())),
    }
}

async fn put_manifest(server: &RegistryServer, repository: &str, name: &str, request: Request) -> Answer {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or(MANIFEST).to_owned();
    let bytes = axum::body::to_bytes(request.into_body(), MANIFEST_LIMIT as usize)
        .await
        .map_err(|_| Refusal(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the manifest is too long".to_owned()))?;
    let mut found = Descriptor::of(&kind, &bytes);
    if name.parse::<Digest>().is_ok_and(|told| told != found.digest) {
        return Err(wrong("DIGEST_INVALID", format!("the manifest is {}", found.digest)));
    }
    let subject = check(server, repository, &mut found, &bytes)?;
    server.store.put(&kind, &bytes)?;
    server.change(repository, |known| {
        known.manifests.insert(found.digest.clone(), Descriptor { annotations: BTreeMap::new(), ..found.clone() });
        if is_tag(name) && name.parse::<Digest>().is_err() {
            known.tags.insert(name.to_owned(), found.digest.clone());
        }
        if let Some(subject) = &subject {
            let referrers = known.referrers.entry(subject.clone()).or_default();
            referrers.retain(|referrer| referrer.digest != found.digest);
            referrers.push(found.clone());
        }
    })?;
    let mut headers = vec![
        ("location", format!("/v2/{repository}/manifests/{}", found.digest)),
        ("docker-content-digest", found.digest.to_string()),
    ];
    headers.extend(subject.map(|subject| ("oci-subject", subject.to_string())));
    Ok(respond(StatusCode::CREATED, &headers, Body::empty()))
}

/// Refuses a manifest whose content is not there. Returns the manifest that it refers to.
fn check(
    server: &RegistryServer,
    repository: &str,
    found: &mut Descriptor,
    bytes: &[u8],
) -> Result<Option<Digest>, Refusal> {
    let invalid = |error: serde_json::Error| wrong("MANIFEST_INVALID", error.to_string());
    if found.is_index() {
        let index: Index = serde_json::from_slice(bytes).map_err(invalid)?;
        for entry in &index.manifests {
            server.manifest(repository, entry.digest.as_str())?;
        }
        return Ok(None);
    }
    if !found.is_manifest() {
        return Err(wrong("MANIFEST_INVALID", format!("{} is no manifest's kind", found.media_type)));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(invalid)?;
    for part in manifest.content() {
        if !server.store.has(part) {
            return Err(wrong("MANIFEST_BLOB_UNKNOWN", format!("{} is not known here", part.digest)));
        }
    }
    found.artifact_type = manifest.artifact_type.or(Some(manifest.config.media_type));
    found.annotations = manifest.annotations;
    Ok(manifest.subject.map(|subject| subject.digest))
}

fn referrers(server: &RegistryServer, repository: &str, digest: &Digest, query: &str) -> Response<Body> {
    let wanted = parameter(query, "artifactType");
    let known = server.repositories().get(repository).and_then(|known| known.referrers.get(digest).cloned());
    let mut found = known.unwrap_or_default();
    found.retain(|referrer| wanted.is_none() || referrer.artifact_type == wanted);
    let mut headers = vec![(header::CONTENT_TYPE.as_str(), INDEX.to_owned())];
    headers.extend(wanted.map(|_| ("oci-filters-applied", "artifactType".to_owned())));
    respond(StatusCode::OK, &headers, json!(Index::new(found)).to_string().into())
}

async fn blob(server: &RegistryServer, digest: &Digest, method: &Method, headers: &HeaderMap) -> Answer {
    let found = server.blob(digest)?;
    let mut told = vec![
        (header::CONTENT_TYPE.as_str(), found.media_type.clone()),
        ("docker-content-digest", digest.to_string()),
        (header::ACCEPT_RANGES.as_str(), "bytes".to_owned()),
    ];
    match *method {
        Method::HEAD => {
            told.push((header::CONTENT_LENGTH.as_str(), found.size.to_string()));
            Ok(respond(StatusCode::OK, &told, Body::empty()))
        }
        Method::GET => {
            let path = server.store.path(digest);
            let start = headers.get(header::RANGE).and_then(|value| range_start(value.to_str().ok()?, found.size));
            let status = match start {
                Some(start) => {
                    told.push((
                        header::CONTENT_RANGE.as_str(),
                        format!("bytes {start}-{}/{}", found.size - 1, found.size),
                    ));
                    StatusCode::PARTIAL_CONTENT
                }
                // What is sent as a whole is what it should be.
                None if !server.store.verify(&found) => return Err(unknown("BLOB_UNKNOWN", digest.as_str())),
                None => StatusCode::OK,
            };
            told.push((header::CONTENT_LENGTH.as_str(), (found.size - start.unwrap_or(0)).to_string()));
            let body = Body::from_stream(content::stream(&path, start.unwrap_or(0)).await?);
            Ok(respond(status, &told, body))
        }
        _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", method.to_string())),
    }
}

/// Where a range begins that goes to the end, which is what those ask for who were interrupted.
fn range_start(value: &str, size: u64) -> Option<u64> {
    let start: u64 = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    (start > 0 && start < size).then_some(start)
}

async fn start_upload(server: &RegistryServer, repository: &str, query: &str, request: Request) -> Answer {
    if request.method() != Method::POST {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", request.method().to_string()));
    }
    // All repositories share their content, so taking a blob from another one is a matter of knowing it.
    if let Some(digest) = parameter(query, "mount")
        && server.blob(&parse(&digest)?).is_ok_and(|found| server.store.verify(&found))
    {
        return Ok(created(repository, &parse(&digest)?));
    }
    let mut incoming = server.store.receive()?;
    if let Some(digest) = parameter(query, "digest") {
        fill(&mut incoming, request).await?;
        return finish(repository, incoming, &parse(&digest)?);
    }
    let id = {
        let mut uploads = server.uploads();
        if uploads.len() >= UPLOADS {
            uploads.pop_first();
        }
        let id = uploads.last_key_value().map_or(1, |(last, _)| last + 1);
        uploads.insert(id, incoming);
        id
    };
    Ok(accepted(repository, id, 0))
}

async fn upload(
    server: &RegistryServer,
    repository: &str,
    id: &str,
    method: &Method,
    query: &str,
    request: Request,
) -> Answer {
    let number: u64 = id.parse().map_err(|_| unknown("BLOB_UPLOAD_UNKNOWN", id))?;
    // Taken out while it grows, so that nobody else writes to it.
    let mut incoming = server.uploads().remove(&number).ok_or_else(|| unknown("BLOB_UPLOAD_UNKNOWN", id))?;
    match *method {
        Method::PATCH => {
            fill(&mut incoming, request).await?;
            let size = length(&incoming)?;
            server.uploads().insert(number, incoming);
            Ok(accepted(repository, number, size))
        }
        Method::PUT => {
            let digest = parameter(query, "digest").ok_or_else(|| wrong("DIGEST_INVALID", "there is no digest"))?;
            fill(&mut incoming, request).await?;
            finish(repository, incoming, &parse(&digest)?)
        }
        Method::GET => {
            let size = length(&incoming)?;
            server.uploads().insert(number, incoming);
            let mut answer = accepted(repository, number, size);
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
        Method::DELETE => Ok(respond(StatusCode::NO_CONTENT, &[], Body::empty())),
        _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", method.to_string())),
    }
}

async fn fill(incoming: &mut Incoming, request: Request) -> Result<(), Refusal> {
    let mut chunks = request.into_body().into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| wrong("BLOB_UPLOAD_INVALID", error.to_string()))?;
        incoming.write_all(&chunk).map_err(ImageError::io(incoming.path().to_owned()))?;
    }
    Ok(())
}

fn length(incoming: &Incoming) -> Result<u64, ImageError> {
    incoming.path().metadata().map(|file| file.len()).map_err(ImageError::io(incoming.path()))
}

fn finish(repository: &str, incoming: Incoming, told: &Digest) -> Answer {
    let file = std::fs::File::open(incoming.path()).map_err(ImageError::io(incoming.path()))?;
    let (digest, _) = Digest::of_reader(file).map_err(ImageError::io(incoming.path()))?;
    if digest != *told {
        return Err(wrong("DIGEST_INVALID", format!("what was sent is {digest}")));
    }
    incoming.keep(&digest)?;
    Ok(created(repository, &digest))
}

fn created(repository: &str, digest: &Digest) -> Response<Body> {
    let headers = [
        ("location", format!("/v2/{repository}/blobs/{digest}")),
        ("docker-content-digest", digest.to_string()),
        ("content-length", "0".to_owned()),
    ];
    respond(StatusCode::CREATED, &headers, Body::empty())
}

fn accepted(repository: &str, id: u64, size: u64) -> Response<Body> {
    let headers = [
        ("location", format!("/v2/{repository}/blobs/uploads/{id}")),
        ("docker-upload-uuid", id.to_string()),
        ("range", format!("0-{}", size.saturating_sub(1))),
        ("content-length", "0".to_owned()),
    ];
    respond(StatusCode::ACCEPTED, &headers, Body::empty())
}

fn json_answer(value: &Value) -> Response<Body> {
    let headers = [(header::CONTENT_TYPE.as_str(), "application/json".to_owned())];
    respond(StatusCode::OK, &headers, value.to_string().into())
}

fn respond(status: StatusCode, headers: &[(&str, String)], body: Body) -> Response<Body> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, value);
    }
    // A header that cannot be sent would be one that somebody sent us: then there is none.
    answer.body(body).unwrap_or_else(|_| Response::new(Body::empty()))
}

/// A parameter of a query, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|part| part.split_once('=').filter(|(key, _)| *key == name))?.1;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| behind.get(..2)).flatten();
        let decoded = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_ranges_are_read() {
        assert_eq!(parameter("a=1&digest=sha256%3Aab", "digest").as_deref(), Some("sha256:ab"));
        assert_eq!(parameter("a=%", "a").as_deref(), Some("%"));
        assert_eq!(parameter("", "a"), None);
        assert_eq!(range_start("bytes=5-", 10), Some(5));
        for value in ["bytes=0-", "bytes=10-", "bytes=1-2", "x"] {
            assert_eq!(range_start(value, 10), None);
        }
    }
}
