//! Building an image from a Dockerfile, on a container engine: with `BuildKit` where the engine has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use edgectl_simulator::runtime::docker::engine::{Engine, EngineHost};
use futures_util::StreamExt as _;
use prost::Message as _;
use reqwest::{Body, Client};
use serde_json::{Value, json};

use super::context::BuildContext;
use super::options::BuildOptions;
use super::session::{Lent, Session};
use crate::error::chain;
use crate::image::error::ImageError;
use crate::image::plan::PlannedModule;
use crate::image::registry::client::encode;
use crate::image::registry::content;
use crate::output::progress::Line;

/// How much of what a build says is kept for telling why it failed, in lines.
const LINES_KEPT: usize = 60;

/// A build of a module on an engine.
pub struct DockerBuild<'a> {
    /// The module.
    pub module: &'a PlannedModule,
    /// What the engine gets.
    pub context: &'a BuildContext,
    /// How it builds.
    pub options: &'a BuildOptions,
    /// What the image is for; what the Dockerfile says, where that is not known.
    pub platform: Option<String>,
    /// Values for build arguments that have none.
    pub environment: &'a BTreeMap<String, String>,
    /// What the engine may ask for meanwhile.
    pub lent: Arc<Lent>,
}

impl DockerBuild<'_> {
    /// Builds, and names the image. What the build said is shown if it fails.
    pub async fn run(&self, engine: &Engine, archive: &Path, line: &Line<'_>) -> Result<(), ImageError> {
        let with_kit = engine.product() == "Docker";
        let (client, address) = client(engine.host())?;
        let session = match (with_kit, self.lent.needs_kit()) {
            (true, _) => Some(Session::open(&client, &address, Arc::clone(&self.lent)).await?),
            (false, true) => {
                return Err(ImageError::Unbuildable {
                    reason: format!("{} takes no secrets and no SSH agents for a build", engine.product()),
                    hint: "Use an engine with BuildKit, or remove --secret and --ssh from `buildOptions`.".to_owned(),
                });
            }
            (false, false) => None,
        };
        let length = archive.metadata().map_err(ImageError::io(archive))?.len();
        let request = client
            .post(format!("{address}/v1.41/build?{}", self.query(session.as_ref())))
            .header("content-type", "application/x-tar")
            .header("content-length", length)
            .body(Body::wrap_stream(content::stream(archive, 0).await?));
        let lost = |error: reqwest::Error| ImageError::Engine { reason: chain(&error) };
        let answer = request.send().await.map_err(lost)?;
        let is_refused = !answer.status().is_success();
        let mut told = Told { lines: Vec::new(), begun: BTreeMap::new(), line };
        let mut rest = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            rest.extend_from_slice(&chunk.map_err(lost)?);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let message: Vec<u8> = rest.drain(..=end).collect();
                Self::hear(&message, &mut told, is_refused)?;
            }
        }
        Self::hear(&rest, &mut told, is_refused)
    }

    /// Takes in one message of the engine.
    fn hear(message: &[u8], told: &mut Told<'_>, is_refused: bool) -> Result<(), ImageError> {
        let Ok(message) = serde_json::from_slice::<Value>(message) else { return Ok(()) };
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        if let Some(error) = text("error").or(text("message").filter(|_| is_refused)) {
            // The engine repeats what failed; the program that did has said why.
            let lines = told.all();
            told.line.say(&[lines.as_slice(), &[error.trim().to_owned()]].concat().join("\n"));
            return Err(ImageError::Failed { tool: "docker build", reason: None });
        }
        if let Some(output) = text("stream") {
            told.output("", output.as_bytes());
        } else if text("id") == Some("moby.buildkit.trace")
            && let Some(bytes) = text("aux").and_then(|aux| BASE64.decode(aux).ok())
        {
            // What is not understood is passed over.
            let status = StatusResponse::decode(bytes.as_slice()).unwrap_or_default();
            for step in &status.vertexes {
                told.line.update(&step.name);
            }
            for log in &status.logs {
                told.output(&log.vertex, &log.msg);
            }
        }
        Ok(())
    }

    fn query(&self, session: Option<&Session>) -> String {
        let mut arguments = self.options.arguments.clone();
        for (name, value) in &mut arguments {
            if let (true, Some(own)) = (value.is_null(), self.environment.get(name)) {
                *value = json!(own);
            }
        }
        let mut parameters = vec![
            ("t", self.module.image.clone()),
            ("dockerfile", self.context.dockerfile()),
            ("rm", "true".to_owned()),
            ("forcerm", "true".to_owned()),
            ("version", if session.is_some() { "2" } else { "1" }.to_owned()),
            ("buildargs", json!(arguments).to_string()),
            ("labels", json!(self.options.labels).to_string()),
            ("cachefrom", json!(self.options.cache_from).to_string()),
        ];
        parameters.extend(session.map(|session| ("session", session.id.clone())));
        parameters.extend(self.platform.clone().map(|platform| ("platform", platform)));
        parameters.extend(self.options.parameters.iter().filter(|(name, _)| *name != "forcerm").cloned());
        let parts: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        parts.join("&")
    }
}

/// What a build has said so far.
struct Told<'a> {
    lines: Vec<String>,
    /// The beginnings of lines that have not ended, by the steps that said them.
    begun: BTreeMap<String, Vec<u8>>,
    line: &'a Line<'a>,
}

impl Told<'_> {
    /// Takes in what a step wrote, which need not be whole lines.
    fn output(&mut self, step: &str, bytes: &[u8]) {
        let mut text = self.begun.remove(step).unwrap_or_default();
        text.extend_from_slice(bytes);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let begun = text.split_off(end);
        if !begun.is_empty() {
            self.begun.insert(step.to_owned(), begun);
        }
        self.take(&text);
    }

    fn take(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            self.line.update(line);
            self.lines.push(line.to_owned());
        }
        let more = self.lines.len().saturating_sub(LINES_KEPT);
        self.lines.drain(..more);
    }

    /// All that is kept, with lines that never ended.
    fn all(&mut self) -> Vec<String> {
        for text in std::mem::take(&mut self.begun).into_values() {
            self.take(&text);
        }
        std::mem::take(&mut self.lines)
    }
}

/// A client that hears all the engine says of a build, which the engine's own client does not know in the form of `BuildKit`.
fn client(host: &EngineHost) -> Result<(Client, String), ImageError> {
    let host = host.to_string();
    let builder = Client::builder().no_proxy();
    let (builder, address) = match host.strip_prefix("unix://") {
        Some(path) => (builder.unix_socket(PathBuf::from(path)), "http://engine".to_owned()),
        None => (builder, host.replacen("tcp://", "http://", 1)),
    };
    // It may be there already, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = builder.build().map_err(|error| ImageError::Engine { reason: chain(&error) })?;
    Ok((client, address))
}

/// Writes an image of the engine into an archive.
pub async fn save(engine: &Engine, image: &str, to: &Path) -> Result<(), ImageError> {
    use tokio::io::AsyncWriteExt as _;
    let mut file = tokio::fs::File::create(to).await.map_err(ImageError::io(to))?;
    let mut chunks = std::pin::pin!(engine.docker().export_image(image));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ImageError::Engine { reason: engine.explain(error).to_string() })?;
        file.write_all(&chunk).await.map_err(ImageError::io(to))?;
    }
    file.flush().await.map_err(ImageError::io(to))
}
