//! Loading images that we built into a container engine.

use std::io::Write;

use bytes::Bytes;
use edgectl_simulator::runtime::docker::engine::{Engine, EngineError, EngineHost};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::error::{CommandError, ErrorKind};
use crate::image::error::ImageError;
use crate::image::oci::archive::{self, Packed};
use crate::image::oci::store::Store;

/// What is handed to the engine at once.
const CHUNK: usize = 256 * 1024;
/// How many of those may wait.
const WAITING: usize = 8;

/// Connects to the engine of the settings, or the usual one.
pub async fn connect(host: Option<&str>) -> Result<Engine, CommandError> {
    let host: EngineHost = match host {
        Some(host) => host.parse().map_err(engine_error)?,
        None => EngineHost::default(),
    };
    Engine::connect(&host).await.map_err(engine_error)
}

/// What an engine's trouble is for a command.
pub fn engine_error(error: EngineError) -> CommandError {
    let kind = match &error {
        EngineError::Absent(_) | EngineError::NotRunning(_) => ErrorKind::Missing,
        EngineError::Host(_) => ErrorKind::Usage,
        EngineError::Denied { .. } => ErrorKind::Denied,
        _ => ErrorKind::Failed,
    };
    let hint = error.hint();
    let error = CommandError::new(kind, error.to_string());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Loads images. Returns where the engine is.
pub fn load(host: Option<&str>, store: &Store, images: &[Packed]) -> Result<String, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("could not start: {error}")))?;
    let engine = runtime.block_on(connect(host))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    // The archive is written by a thread of its own while the engine reads it.
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| archive::write(store, images, Chunks { sender, chunk: Vec::new() }));
        let loaded = runtime.block_on(send(&engine, receiver));
        let written =
            writer.join().unwrap_or_else(|_| Err(ImageError::io("the archive")(std::io::ErrorKind::Other.into())));
        // An archive that nobody reads any more is the engine's doing.
        loaded?;
        Ok::<_, CommandError>(written)
    })?;
    written?;
    Ok(engine.host().to_string())
}

async fn send(engine: &Engine, receiver: mpsc::Receiver<Bytes>) -> Result<(), CommandError> {
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    let options = bollard::query_parameters::ImportImageOptions { quiet: true, ..Default::default() };
    let mut answers = engine.docker().import_image(options, bollard::body_stream(chunks), None);
    // Errors come in the middle of what goes well.
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| engine_error(engine.explain(error)))?;
        if let Some(message) = answer.error_detail.and_then(|detail| detail.message) {
            return Err(CommandError::failed(format!("the container engine says: {message}")));
        }
    }
    Ok(())
}

/// Hands on what is written, in large pieces.
struct Chunks {
    sender: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        self.sender.blocking_send(chunk).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
