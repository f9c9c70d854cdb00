//! Shards as processes of this machine.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::ShardEngine;
use crate::device::{DeviceError, other};
use crate::fleet::shard::ShardOrder;

/// A shard that ended is started again after this time.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// So long a shard may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The program that is a shard.
#[derive(Debug, Clone)]
pub struct ShardProgram {
    /// Its file.
    pub path: PathBuf,
    /// With which arguments. It reads its order, one line, from standard input, and ends when that ends.
    pub arguments: Vec<OsString>,
}

/// Processes of this machine.
pub struct Processes {
    program: ShardProgram,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    /// The last one of each shard that ended.
    ended: Arc<Mutex<Option<String>>>,
}

impl Processes {
    /// None run yet.
    pub fn new(program: ShardProgram) -> Self {
        Self { program, shutdown: CancellationToken::new(), tasks: TaskTracker::new(), ended: Arc::default() }
    }
}

#[async_trait]
impl ShardEngine for Processes {
    async fn start(&self, orders: Vec<ShardOrder>) -> Result<(), DeviceError> {
        for (number, order) in (1..).zip(orders) {
            let mut line = serde_json::to_vec(&order).map_err(|error| other("a shard's order")(&error))?;
            line.push(b'\n');
            let first = spawn(&self.program).map_err(|error| other("a shard")(&error))?;
            let shard = Shard { number, line, program: self.program.clone(), ended: Arc::clone(&self.ended) };
            self.tasks.spawn(shard.keep(first, self.shutdown.clone()));
        }
        Ok(())
    }

    async fn trouble(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What one shard is started from.
struct Shard {
    number: usize,
    line: Vec<u8>,
    program: ShardProgram,
    ended: Arc<Mutex<Option<String>>>,
}

impl Shard {
    async fn keep(self, first: Child, shutdown: CancellationToken) {
        let mut child = first;
        loop {
            // Its input stays open as long as it is to run.
            let input = child.stdin.take();
            let handed = async {
                let mut input = input?;
                // One that takes no order ends, and then it shows why.
                let _ = input.write_all(&self.line).await;
                Some(input)
            };
            let ended = tokio::select! {
                ended = async {
                    let _input = handed.await;
                    child.wait().await
                } => ended,
                () = shutdown.cancelled() => {
                    // The input is closed by now.
                    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                        tracing::warn!(shard = self.number, "the shard does not end and is killed");
                        let _ = child.kill().await;
                    }
                    return;
                }
            };
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(shard = self.number, how, "a shard ended; it is started again");
            self.note(format!("shard {} ended with {how}", self.number));
            child = loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(RESTART_DELAY) => {}
                }
                match spawn(&self.program) {
                    Ok(child) => break child,
                    Err(error) => self.note(format!("shard {} cannot start: {error}", self.number)),
                }
            };
        }
    }

    fn note(&self, what: String) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }
}

fn spawn(program: &ShardProgram) -> std::io::Result<Child> {
    Command::new(&program.path)
        .args(&program.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // A Ctrl-C is for the fleet, which ends its shards.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}
