//! Files of devices: `POST /devices/{device}/files` gives leave, the file goes to the storage, and
//! `POST /devices/{device}/files/notifications` says that it is there.
//!
//! The storage answers as a blob service does to `PUT` of a blob, of its blocks and of their list, and to `GET` and `HEAD`.

use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{post, put};
use axum::{Extension, Router};
use edgectl_hub::clock::text_of;
use edgectl_hub::cloud::hub::CloudHub;
use edgectl_hub::cloud::uploads::{FileNotification, UploadError};
use edgectl_hub::gateway::Gateway as _;
use edgectl_schemas::ids::{DeviceId, Identity};
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::access::credential;
use super::answer::ServiceError;
use super::serve::PeerCertificate;
use super::shape;
use crate::blobs::grant::Grants;
use crate::blobs::store::BlobStore;

/// The container of all files.
pub const CONTAINER: &str = "uploads";
/// Bytes of a list of blocks: fifty thousand of them, which the storage service allows.
const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;

/// What handlers need.
#[derive(Clone)]
pub struct Files {
    /// The hub.
    pub hub: Arc<CloudHub>,
    /// Gives leave.
    pub grants: Grants,
    /// Keeps the files.
    pub store: BlobStore,
}

type Peer = Option<Extension<PeerCertificate>>;
type Answer = Result<Response, ServiceError>;

/// The paths.
pub fn router(files: Files) -> Router {
    Router::new()
        .route("/devices/{device}/files", post(begin))
        .route("/devices/{device}/files/notifications", post(end))
        .route("/devices/{device}/files/notifications/{correlation}", post(end_named))
        .route(&format!("/{CONTAINER}/{{*blob}}"), put(write).get(read))
        .with_state(files)
}

/// Whether a request is one to the storage, whose bodies are as long as files are and not held in memory.
pub fn is_stored(path: &str) -> bool {
    path.trim_start_matches('/').split('/').next() == Some(CONTAINER)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    blob_name: String,
}

/// `POST /devices/{device}/files`.
async fn begin(
    State(files): State<Files>,
    Path(device): Path<String>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let device = proved(&files.hub, &device, peer, &headers).await?;
    let wanted: Wanted =
        serde_json::from_slice(&body).map_err(|error| ServiceError::invalid(format!("the request: {error}")))?;
    let (correlation, upload) = files.hub.uploads().begin(&device, &wanted.blob_name)?;
    let answer = json!({
        "correlationId": correlation,
        "hostName": files.hub.host(),
        "containerName": CONTAINER,
        "blobName": upload.blob,
        "sasToken": files.grants.query(CONTAINER, &upload.blob, upload.expires_ms),
    });
    Ok(axum::Json(answer).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    correlation_id: Option<String>,
    is_success: bool,
}

/// `POST /devices/{device}/files/notifications`.
async fn end(files: State<Files>, Path(device): Path<String>, peer: Peer, headers: HeaderMap, body: Bytes) -> Answer {
    finish(files.0, &device, None, peer, &headers, &body).await
}

/// `POST /devices/{device}/files/notifications/{correlation}`.
async fn end_named(
    files: State<Files>,
    Path((device, correlation)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    finish(files.0, &device, Some(correlation), peer, &headers, &body).await
}

async fn finish(
    files: Files,
    device: &str,
    correlation: Option<String>,
    peer: Peer,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let device = proved(&files.hub, device, peer, headers).await?;
    let ended: Ended =
        serde_json::from_slice(body).map_err(|error| ServiceError::invalid(format!("the request: {error}")))?;
    let correlation = correlation.or(ended.correlation_id);
    let correlation = correlation.ok_or_else(|| ServiceError::invalid("correlationId is missing"))?;
    let upload = files.hub.uploads().end(&device, &correlation)?;
    // A device may say so of a file that it never brought; then there is nothing to tell.
    if ended.is_success
        && let Ok(metadata) = std::fs::metadata(files.store.path(&upload.blob))
    {
        let notification = FileNotification {
            device_id: device,
            blob_uri: format!("https://{}/{CONTAINER}/{}", files.hub.host(), upload.blob),
            blob_name: upload.blob.clone(),
            last_updated_time: text_of(modified_ms(&metadata)),
            blob_size_in_bytes: metadata.len(),
            enqueued_time_utc: files.hub.clock().now_text(),
        };
        let kept = files.hub.uploads().notifications().add(vec![notification]);
        kept.map_err(|error| ServiceError::failed(error.to_string()))?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn proved(hub: &CloudHub, device: &str, peer: Peer, headers: &HeaderMap) -> Result<DeviceId, ServiceError> {
    let device = shape::device_id(device)?;
    hub.authenticate(&Identity::device(device.clone()), &credential(peer, headers)?).await?;
    Ok(device)
}

#[derive(Deserialize)]
struct Operation {
    comp: Option<String>,
    blockid: Option<String>,
    #[serde(default)]
    sig: String,
    #[serde(default)]
    se: String,
}

/// `PUT /uploads/{blob}`, with `comp=block` of a part, with `comp=blocklist` of the order of the parts.
async fn write(
    State(files): State<Files>,
    Path(blob): Path<String>,
    Query(operation): Query<Operation>,
    body: Body,
) -> Response {
    if !allows(&files, &blob, &operation) {
        return storage_error(StatusCode::FORBIDDEN, "AuthenticationFailed");
    }
    let written = match (operation.comp.as_deref(), operation.blockid) {
        (None, _) => files.store.put(&blob, body).await.map(|()| true),
        (Some("block"), Some(block)) => files.store.put_block(&blob, &block, body).await.map(|()| true),
        (Some("blocklist"), _) => match axum::body::to_bytes(body, MAX_LIST_BYTES).await {
            Ok(list) => files.store.commit(&blob, &blocks(&String::from_utf8_lossy(&list))),
            Err(_) => Ok(false),
        },
        _ => return storage_error(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue"),
    };
    match written {
        Ok(true) => (StatusCode::CREATED, described(&files, &blob)).into_response(),
        Ok(false) => storage_error(StatusCode::BAD_REQUEST, "InvalidBlockList"),
        Err(error) => {
            tracing::error!(%error, blob, "a file cannot be kept");
            storage_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
    }
}

/// `GET /uploads/{blob}`, which serves `HEAD` too.
async fn read(State(files): State<Files>, Path(blob): Path<String>, Query(operation): Query<Operation>) -> Response {
    if !allows(&files, &blob, &operation) {
        return storage_error(StatusCode::FORBIDDEN, "AuthenticationFailed");
    }
    match files.store.read(&blob) {
        Ok((body, size)) => {
            let length = [(header::CONTENT_LENGTH, HeaderValue::from(size))];
            (length, described(&files, &blob), body).into_response()
        }
        Err(_) => storage_error(StatusCode::NOT_FOUND, "BlobNotFound"),
    }
}

fn allows(files: &Files, blob: &str, Operation { sig, se, .. }: &Operation) -> bool {
    files.grants.allows(CONTAINER, blob, sig, se, files.hub.clock().now_ms())
}

/// The identifiers in a list of blocks, in their order.
fn blocks(list: &str) -> Vec<String> {
    static BLOCK: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"<(?:Latest|Committed|Uncommitted)>([^<]*)</").ok());
    let found = BLOCK.as_ref().map(|block| block.captures_iter(list).map(|found| found[1].trim().to_owned()).collect());
    found.unwrap_or_default()
}

fn modified_ms(metadata: &std::fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or_default()
}

/// The headers that clients of the storage look for.
fn described(files: &Files, blob: &str) -> HeaderMap {
    let ms = std::fs::metadata(files.store.path(blob)).map_or(0, |metadata| modified_ms(&metadata));
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or_default()).unwrap_or_default();
    let texts = [
        (header::ETAG, format!("\"0x{ms:X}\"")),
        (header::LAST_MODIFIED, time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        (HeaderName::from_static("x-ms-request-id"), Uuid::new_v4().to_string()),
        (HeaderName::from_static("x-ms-request-server-encrypted"), "true".to_owned()),
        (HeaderName::from_static("x-ms-blob-type"), "BlockBlob".to_owned()),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?))).collect()
}

fn storage_error(status: StatusCode, code: &'static str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    );
    let headers = [(header::CONTENT_TYPE, "application/xml"), (HeaderName::from_static("x-ms-error-code"), code)];
    (status, headers, body).into_response()
}

impl From<UploadError> for ServiceError {
    fn from(error: UploadError) -> Self {
        let text = error.to_string();
        match error {
            UploadError::Name(_) => Self::invalid(text),
            UploadError::TooMany(_) => {
                Self::of(StatusCode::FORBIDDEN, "DeviceMaximumActiveFileUploadLimitExceeded", text)
            }
            UploadError::NotFound(_) => Self::of(StatusCode::NOT_FOUND, "FileUploadNotFound", text),
            UploadError::Documents(_) => Self::failed(text),
        }
    }
}
