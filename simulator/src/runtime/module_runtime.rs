//! The port between the agent and what runs modules.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

/// What runs modules: host processes, or containers of an engine.
#[async_trait]
pub trait ModuleRuntime: Send + Sync + 'static {
    /// Every module there is, sorted by name.
    async fn list(&self) -> Result<Vec<ModuleState>, RuntimeError>;

    /// Makes an image available, or says that it cannot be. The credential is the deployment's for the image's registry.
    async fn prepare(&self, image: &str, credential: Option<&RegistryCredential>) -> Result<(), RuntimeError>;

    /// Creates a module without starting it. A module of that name is stopped and replaced.
    async fn create(&self, specification: ModuleSpec) -> Result<(), RuntimeError>;

    /// Starts a module; does nothing if it is running.
    async fn start(&self, name: &str) -> Result<(), RuntimeError>;

    /// Asks a module to end, kills it when the time is over, and returns when it is gone.
    async fn stop(&self, name: &str, timeout: Duration) -> Result<(), RuntimeError>;

    /// Stops and starts a module.
    async fn restart(&self, name: &str, timeout: Duration) -> Result<(), RuntimeError> {
        self.stop(name, timeout).await?;
        self.start(name).await
    }

    /// Stops a module if need be and removes it with its log.
    async fn remove(&self, name: &str) -> Result<(), RuntimeError>;

    /// Lines of a module's log, oldest first. The channel ends with the log, or when a module that is followed is
    /// removed.
    async fn logs(&self, name: &str, query: LogQuery) -> Result<mpsc::Receiver<LogLine>, RuntimeError>;

    /// Where commands can be run beside a module.
    async fn place(&self, name: &str) -> Result<ModulePlace, RuntimeError> {
        let reason = "its runtime runs no other commands".to_owned();
        Err(RuntimeError::Invalid { name: name.to_owned(), reason })
    }

    /// Changes whenever a module ended by itself, so that the agent need not wait for its next look.
    fn exits(&self) -> watch::Receiver<u64>;
}

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleSpec {
    /// The module's name in the deployment.
    pub name: String,
    /// `docker`, the only type there is.
    pub kind: String,
    /// The reference of the image.
    pub image: String,
    /// The body of a container engine's create request.
    pub create_options: Map<String, Value>,
    /// The whole environment that the device gives to the module.
    pub env: BTreeMap<String, String>,
}

/// Where a module is, for commands that are run beside it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum ModulePlace {
    /// A process of this machine.
    Process {
        /// The folder it runs in.
        folder: PathBuf,
        /// Its whole environment.
        env: BTreeMap<String, String>,
    },
    /// A container.
    Container {
        /// Where the engine listens.
        engine: String,
        /// The container's name.
        name: String,
    },
}

/// Who the device is at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryCredential {
    /// The registry's host.
    pub address: String,
    /// The account.
    pub username: String,
    /// The account's password. Never shown.
    pub password: String,
}

impl fmt::Debug for RegistryCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryCredential({} at {})", self.username, self.address)
    }
}

/// What a module is doing, in the words that the runtime reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModuleStatus {
    /// Nobody knows.
    Unknown,
    /// Ended, and waiting to be started again. Never a runtime's word: the agent works it out.
    Backoff,
    /// It runs.
    Running,
    /// It runs, and its health check fails.
    Unhealthy,
    /// It ended with exit code 0, or was never started.
    Stopped,
    /// It ended with another exit code.
    Failed,
    /// The engine could not remove it.
    Dead,
}

impl ModuleStatus {
    const WORDS: [(Self, &'static str); 7] = [
        (Self::Unknown, "unknown"),
        (Self::Backoff, "backoff"),
        (Self::Running, "running"),
        (Self::Unhealthy, "unhealthy"),
        (Self::Stopped, "stopped"),
        (Self::Failed, "failed"),
        (Self::Dead, "dead"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(status, _)| *status == self).map_or("unknown", |(_, word)| word)
    }
}

impl fmt::Display for ModuleStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no module status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a module status")]
pub struct InvalidStatus(String);

impl FromStr for ModuleStatus {
    type Err = InvalidStatus;

    /// Reads the word in any case.
    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        let found = Self::WORDS.iter().find(|(_, word)| word.eq_ignore_ascii_case(text));
        found.map(|(status, _)| *status).ok_or_else(|| InvalidStatus(text.to_owned()))
    }
}

/// A module as its runtime sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleState {
    /// The module's name.
    pub name: String,
    /// The reference of its image.
    pub image: String,
    /// What the image is, for people; none if the runtime has no words for it.
    pub image_description: Option<String>,
    /// The digest of what is run.
    pub image_hash: Option<String>,
    /// What it is doing; never [`ModuleStatus::Backoff`].
    pub status: ModuleStatus,
    /// The same for people.
    pub description: String,
    /// The code with which it last ended; 128 and the signal's number if a signal ended it.
    pub exit_code: Option<i32>,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub exited_at: Option<Timestamp>,
    /// The number of its first process while it runs.
    pub pid: Option<u32>,
    /// What the create options let it use, for people; none if nothing is limited, or an engine sees to it.
    pub limits: Option<String>,
    /// Why the machine does not hold it to that; none if it does.
    pub limits_unenforced: Option<String>,
}

/// Which lines of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogQuery {
    /// At most this many of the lines there are already.
    pub tail: Option<usize>,
    /// None older than this.
    pub since: Option<Timestamp>,
    /// None newer than this.
    pub until: Option<Timestamp>,
    /// Go on with the lines to come.
    pub follow: bool,
}

/// Where a module wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The stream of a number in the header of a container engine's log frame; 0 is standard input, which prints nothing.
    pub fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }

    /// The stream's number in such a header.
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// The stream's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line that a module wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the module.
    pub at: Timestamp,
    /// Where the module wrote it.
    pub stream: LogStream,
    /// The line without its end.
    pub text: String,
}

/// Why a runtime did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no module of that name.
    #[error("no module {0:?}")]
    NotFound(String),
    /// The image is not there and cannot be had; what to do stands after it.
    #[error("image {image:?} is not available: {advice}")]
    ImageNotAvailable {
        /// The reference.
        image: String,
        /// What to do about it.
        advice: String,
    },
    /// A setting has no meaning for this runtime.
    #[error("module {name:?}: {reason}")]
    Invalid {
        /// The module.
        name: String,
        /// What is wrong with the setting.
        reason: String,
    },
    /// The module cannot be started or stopped, or its files cannot be used.
    #[error("module {name:?}: {doing}")]
    Io {
        /// The module.
        name: String,
        /// What was being done, as in "cannot start".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The engine that runs the modules cannot be used, or says no.
    #[error("{0}")]
    Engine(String),
    /// The runtime was closed.
    #[error("the module runtime is closed")]
    Closed,
}
