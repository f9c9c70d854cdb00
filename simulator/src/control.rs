//! The control socket of a running device, and its client: one request a connection, answers as lines of JSON.
//!
//! The socket lies in the device's state directory, which is the user's alone; who can open it may control the device.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::Conditions;
use crate::trail::Wanted;

/// Longest request line, in bytes: a message of 256 KiB in base64 and room around it.
const MAX_REQUEST_BYTES: u64 = 512 * 1024;
/// Answers that may wait for a slow reader.
const ANSWER_QUEUE: usize = 64;

/// What can be asked of a running device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Modules, routes, counters.
    Status,
    /// The same of a fleet.
    Fleet,
    /// What became of a roll-out over a fleet.
    FleetReport,
    /// Lines that modules printed.
    Logs {
        /// The modules; all of the device if there are none.
        modules: Vec<String>,
        /// Whether to go on with new lines.
        follow: bool,
        /// Of each module only so many lines of what is there.
        tail: Option<usize>,
        /// No lines older than this.
        since: Option<Timestamp>,
        /// No lines newer than this.
        until: Option<Timestamp>,
    },
    /// Messages that reached the cloud hub.
    Events {
        /// Whether to go on with new messages.
        follow: bool,
        /// The first sequence number wanted.
        from: u64,
    },
    /// Puts a message into a module's input, as if a route had taken it there.
    Send {
        /// The module.
        module: String,
        /// Its input.
        input: String,
        /// The body, base64.
        body: String,
        /// Application properties.
        properties: Vec<(String, String)>,
        /// System properties, by the names that routes use.
        system: Vec<(String, String)>,
    },
    /// All that is known of a module.
    Inspect {
        /// The module.
        module: String,
    },
    /// Where commands can be run beside a module.
    Place {
        /// The module.
        module: String,
    },
    /// Restarts a module.
    Restart {
        /// The module.
        module: String,
    },
    /// What the network to the hub above is like, and makes it so first if there is something to make it.
    Network {
        /// What it is to be like.
        conditions: Option<Conditions>,
    },
    /// What became of the last messages in the edge hub.
    Trace {
        /// Which.
        wanted: Wanted,
    },
    /// What was counted and measured, as a list of metrics.
    Metrics,
    /// What the device would do about a deployment; nothing is changed.
    Plan {
        /// The deployment's `modulesContent`.
        modules_content: Value,
    },
    /// A support bundle: items are its parts in their order, base64.
    SupportBundle {
        /// No lines of logs older than this.
        since: Option<Timestamp>,
        /// No lines of logs newer than this.
        until: Option<Timestamp>,
        /// Nothing of the user's modules.
        is_runtime_only: bool,
    },
    /// Stops the device.
    Stop,
}

/// What a device answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub enum Answer {
    /// One item of several.
    Item {
        /// The item.
        value: Value,
    },
    /// The last answer.
    Done {
        /// The result, null if there is none.
        value: Value,
    },
    /// The request failed; the last answer.
    Failed {
        /// Why.
        message: String,
    },
}

/// Answers requests. The last answer is what it returns; items go through the channel before.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Dropped when the asking side goes away.
    async fn handle(&self, request: Request, items: mpsc::Sender<Value>) -> Result<Value, String>;
}

/// Listens on the control socket. A socket file that a killed device left is replaced.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves requests until shutdown.
pub async fn serve(listener: UnixListener, handler: Arc<dyn Handler>, shutdown: CancellationToken) {
    let tracker = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket did not accept");
                    continue;
                }
            },
        };
        let (handler, shutdown) = (Arc::clone(&handler), shutdown.clone());
        tracker.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                // The other side going away ends the conversation; there is nobody to tell.
                _ = converse(stream, handler.as_ref()) => {}
            }
        });
    }
    tracker.close();
    tracker.wait().await;
}

async fn converse(stream: UnixStream, handler: &dyn Handler) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(read, MAX_REQUEST_BYTES)).lines();
    let Some(line) = lines.next_line().await? else { return Ok(()) };
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            return write_answer(&mut write, &Answer::Failed { message: format!("not a request: {error}") }).await;
        }
    };
    let (items, mut queue) = mpsc::channel(ANSWER_QUEUE);
    let mut work = handler.handle(request, items);
    loop {
        tokio::select! {
            biased;
            Some(value) = queue.recv() => write_answer(&mut write, &Answer::Item { value }).await?,
            result = &mut work => {
                while let Ok(value) = queue.try_recv() {
                    write_answer(&mut write, &Answer::Item { value }).await?;
                }
                let answer = match result {
                    Ok(value) => Answer::Done { value },
                    Err(message) => Answer::Failed { message },
                };
                return write_answer(&mut write, &answer).await;
            }
            // Nothing more is expected; an end of the stream means the asking side is gone.
            _ = lines.next_line() => return Ok(()),
        }
    }
}

async fn write_answer(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// A request to a device did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No device listens.
    #[error("no device is running")]
    NotRunning,
    /// The device said no.
    #[error("{0}")]
    Failed(String),
    /// The device went away in the middle.
    #[error("the device stopped answering")]
    Interrupted,
    /// The socket failed.
    #[error("{path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The answers to one request.
pub struct Conversation {
    lines: Lines<BufReader<OwnedReadHalf>>,
    // Closing this half would tell the device that nobody listens any more.
    _write: OwnedWriteHalf,
}

/// Asks a device.
pub async fn ask(path: &Path, request: &Request) -> Result<Conversation, ControlError> {
    let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotRunning,
        _ => ControlError::Io { path: path.to_owned(), source },
    })?;
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request).map_err(|error| ControlError::Failed(error.to_string()))?;
    line.push(b'\n');
    write.write_all(&line).await.map_err(|source| ControlError::Io { path: path.to_owned(), source })?;
    Ok(Conversation { lines: BufReader::new(read).lines(), _write: write })
}

/// What came next in a conversation.
#[derive(Debug)]
pub enum Next {
    /// An item.
    Item(Value),
    /// The result; nothing follows.
    Done(Value),
}

impl Conversation {
    /// The next answer.
    pub async fn next(&mut self) -> Result<Next, ControlError> {
        let line = self.lines.next_line().await.ok().flatten().ok_or(ControlError::Interrupted)?;
        match serde_json::from_str(&line) {
            Ok(Answer::Item { value }) => Ok(Next::Item(value)),
            Ok(Answer::Done { value }) => Ok(Next::Done(value)),
            Ok(Answer::Failed { message }) => Err(ControlError::Failed(message)),
            Err(error) => Err(ControlError::Failed(format!("an answer that is none: {error}"))),
        }
    }

    /// The result, passing over items.
    pub async fn result(mut self) -> Result<Value, ControlError> {
        loop {
            if let Next::Done(value) = self.next().await? {
                return Ok(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Echo;

    #[async_trait]
    impl Handler for Echo {
        async fn handle(&self, request: Request, items: mpsc::Sender<Value>) -> Result<Value, String> {
            match request {
                Request::Events { .. } => {
                    for number in 0..3 {
                        items.send(json!(number)).await.map_err(|error| error.to_string())?;
                    }
                    Ok(json!("end"))
                }
                Request::Restart { module } => Err(format!("no module {module}")),
                _ => Ok(Value::Null),
            }
        }
    }

    #[tokio::test]
    async fn items_come_before_the_result_and_failures_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(bind(&path).unwrap(), Arc::new(Echo), shutdown.clone()));

        let mut conversation = ask(&path, &Request::Events { follow: false, from: 0 }).await.unwrap();
        for number in 0..3 {
            assert!(matches!(conversation.next().await.unwrap(), Next::Item(value) if value == json!(number)));
        }
        assert!(matches!(conversation.next().await.unwrap(), Next::Done(value) if value == json!("end")));

        let refused = ask(&path, &Request::Restart { module: "x".into() }).await.unwrap().result().await;
        assert!(matches!(refused, Err(ControlError::Failed(message)) if message == "no module x"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        shutdown.cancel();
        server.await.unwrap();
        assert!(matches!(ask(&path, &Request::Status).await, Err(ControlError::NotRunning)));
    }
}
