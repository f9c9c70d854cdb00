//! `UploadModuleLogs` and `UploadSupportBundle`: what the agent puts into a container of blobs, in the background.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join_all};
use jiff::Timestamp;
use serde_json::Value;

use super::blob::{BlobContainer, BlobKind, RETRY_DELAYS};
use super::log_request::{LogItem, LogRequest, member, time};
use super::logs;
use super::method::{AgentIdentity, MethodError};
use super::tasks::BackgroundTasks;
use crate::runtime::module_runtime::ModuleRuntime;

const UPLOAD_LOGS: &str = "upload logs";
const UPLOAD_BUNDLE: &str = "upload support bundle";
/// More bytes of one module's log than this are an error: they are held in memory, and put at once.
const MAX_BLOB_BYTES: usize = 256 * 1024 * 1024;
/// What the name of a support bundle begins with.
const BUNDLE_NAME: &str = "support-bundle";

/// What of a device a support bundle is to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleRequest {
    /// No lines of logs older than this.
    pub since: Option<Timestamp>,
    /// No lines of logs newer than this.
    pub until: Option<Timestamp>,
    /// Nothing of the user's modules.
    pub is_runtime_only: bool,
}

/// Makes a support bundle: a ZIP archive, or why there is none.
pub type BundleMaker = Arc<dyn Fn(BundleRequest) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

/// What uploads are made of.
#[derive(Clone)]
pub struct Uploads {
    /// Whose agent it is: blobs are named by it.
    pub identity: AgentIdentity,
    /// Whose logs there are.
    pub runtime: Arc<dyn ModuleRuntime>,
    /// Where it runs.
    pub tasks: BackgroundTasks,
    /// Makes support bundles.
    pub bundle: BundleMaker,
    /// How long to wait before each further try.
    pub delays: Vec<Duration>,
}

impl Uploads {
    /// Uploads with the real agent's delays.
    pub fn new(
        identity: AgentIdentity,
        runtime: Arc<dyn ModuleRuntime>,
        tasks: BackgroundTasks,
        bundle: BundleMaker,
    ) -> Self {
        Self { identity, runtime, tasks, bundle, delays: RETRY_DELAYS.to_vec() }
    }

    /// Starts an upload of logs: a blob for each module that is asked for.
    pub async fn module_logs(&self, request: &Value, now: Timestamp) -> Result<Value, MethodError> {
        let container = container(request)?;
        let request = LogRequest::read(request, now)?;
        let states = self.runtime.list().await?;
        let wanted = request.select(states.into_iter().map(|state| state.name));
        let wanted: Vec<(String, LogItem)> = wanted.into_iter().map(|(module, item)| (module, item.clone())).collect();
        let (is_gzip, is_json) = (request.is_gzip, request.is_json);
        let uploads = self.clone();
        self.start(UPLOAD_LOGS, async move {
            let each = wanted.iter().map(|(module, item)| {
                let (uploads, container) = (&uploads, &container);
                async move { uploads.module_log(container, module, item, is_gzip, is_json, now).await }
            });
            try_join_all(each).await.map(drop)
        })
    }

    async fn module_log(
        &self,
        container: &BlobContainer,
        module: &str,
        item: &LogItem,
        is_gzip: bool,
        is_json: bool,
        now: Timestamp,
    ) -> Result<(), String> {
        let text = logs::payload(
            self.runtime.as_ref(),
            &self.identity,
            module,
            item,
            is_json,
            (MAX_BLOB_BYTES, MAX_BLOB_BYTES),
        )
        .await;
        let mut bytes = text.map_err(|error| error.to_string())?.into_bytes();
        if is_gzip {
            bytes = logs::compressed(&bytes).map_err(|error| error.to_string())?;
        }
        let extension = match (is_json, is_gzip) {
            (true, true) => "json.gz",
            (true, false) => "json",
            (false, true) => "log.gz",
            (false, false) => "log",
        };
        let kind = BlobKind {
            content_type: if is_json { "application/json" } else { "text/plain" },
            content_encoding: is_gzip.then_some("gzip"),
        };
        self.put(container, module, extension, kind, bytes, now).await
    }

    /// Starts an upload of a support bundle.
    pub fn support_bundle(&self, request: &Value, now: Timestamp) -> Result<Value, MethodError> {
        let container = container(request)?;
        let wanted = BundleRequest {
            since: time(member(request, "since"), now)?,
            until: time(member(request, "until"), now)?,
            is_runtime_only: member(request, "edgeRuntimeOnly").and_then(Value::as_bool).unwrap_or_default(),
        };
        let uploads = self.clone();
        self.start(UPLOAD_BUNDLE, async move {
            let bytes = (uploads.bundle)(wanted).await?;
            // The real agent names the archive itself as its encoding.
            let kind = BlobKind { content_type: "application/zip", content_encoding: Some("zip") };
            uploads.put(&container, BUNDLE_NAME, "zip", kind, bytes, now).await
        })
    }

    fn start(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Result<Value, MethodError> {
        self.tasks.start(operation, work).map_err(|error| MethodError::Failed(error.to_string()))
    }

    /// Puts a blob under the name that the real agent gives it.
    async fn put(
        &self,
        container: &BlobContainer,
        id: &str,
        extension: &str,
        kind: BlobKind,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), String> {
        let AgentIdentity { hub, device } = &self.identity;
        let name = format!("{hub}/{device}/{id}-{}.{extension}", now.strftime("%Y-%m-%d--%H-%M-%S"));
        let clock = self.tasks.clock();
        container
            .put(&name, kind, Bytes::from(bytes), &self.delays, clock)
            .await
            .map_err(|error| format!("{id}: {error}"))
    }
}

fn container(request: &Value) -> Result<BlobContainer, MethodError> {
    match member(request, "sasUrl").and_then(Value::as_str) {
        Some(url) if !url.trim().is_empty() => {
            BlobContainer::parse(url).map_err(|error| MethodError::Argument(error.to_string()))
        }
        _ => Err(MethodError::Argument("the request has no \"sasUrl\"".to_owned())),
    }
}
