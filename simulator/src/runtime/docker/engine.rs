//! A container engine: where it is, whether it can be used, and what went wrong if it cannot.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bollard::{ClientVersion, Docker};
use tokio::net::UnixStream;

use crate::runtime::module_runtime::RuntimeError;

/// Where an engine listens that was installed as usual.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// For the head of an answer. Starting a container on a busy machine takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// The interface of engine 20.10, the oldest that is still looked after anywhere.
const OLDEST_INTERFACE: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// Where an engine listens: `unix:///path`, `tcp://host:port` or `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineHost(String);

impl EngineHost {
    /// The path of its socket, if it has one.
    fn socket(&self) -> Option<&Path> {
        self.0.strip_prefix("unix://").map(Path::new)
    }
}

impl Default for EngineHost {
    fn default() -> Self {
        Self(DEFAULT_HOST.to_owned())
    }
}

impl FromStr for EngineHost {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let is_address =
            ["tcp://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
        if is_address || text.starts_with("unix:///") {
            Ok(Self(text.to_owned()))
        } else {
            Err(EngineError::Host(text.to_owned()))
        }
    }
}

impl fmt::Display for EngineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an engine cannot be used, or did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It cannot be reached that way.
    #[error("{0:?} is not where a container engine listens: unix:///path or tcp://host:port")]
    Host(String),
    /// There is no socket.
    #[error("there is no container engine at {0}")]
    Absent(PathBuf),
    /// Nobody listens.
    #[error("the container engine at {0} is not running")]
    NotRunning(EngineHost),
    /// The socket is not for this user.
    #[error("this user may not use the container engine at {path}")]
    Denied {
        /// The socket.
        path: PathBuf,
        /// The group whose members may, if its name is known.
        group: Option<String>,
    },
    /// It stopped, or does not answer.
    #[error("the container engine at {host} does not answer: {reason}")]
    Lost {
        /// Where it was.
        host: EngineHost,
        /// What happened.
        reason: String,
    },
    /// It answered no.
    #[error("the container engine says: {message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// In the engine's words.
        message: String,
    },
    /// A network of that name is somebody else's.
    #[error("the container network {0} belongs to another device")]
    NetworkTaken(String),
    /// The network has no address on this machine.
    #[error("the container network {network} has no address of this machine")]
    NoGateway {
        /// The network.
        network: String,
    },
    /// The edge hub cannot serve in the network.
    #[error("the edge hub cannot serve in the container network {network}: {reason}")]
    NoDoor {
        /// The network.
        network: String,
        /// What happened.
        reason: String,
    },
}

impl EngineError {
    /// What to do about it, a sentence; none if there is nothing general to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Host(_) => "Set DOCKER_HOST to the engine's address, or remove it.".to_owned(),
            Self::Absent(_) => {
                "Install a container engine such as Docker; if there is one elsewhere, set DOCKER_HOST.".to_owned()
            }
            Self::NotRunning(_) | Self::Lost { .. } => "Start it: `sudo systemctl start docker`.".to_owned(),
            Self::Denied { group: Some(group), .. } => {
                format!("Join the group {group}, `sudo usermod -aG {group} $USER`, and log in again.")
            }
            Self::Denied { group: None, .. } => "Ask who owns the socket for the right to use it.".to_owned(),
            Self::NetworkTaken(_) => "Give this solution another `device` in edgectl.yaml.".to_owned(),
            Self::NoGateway { .. } => {
                "Use an engine that runs on this machine and not in a virtual one; containers cannot reach the \
                 simulated device otherwise."
                    .to_owned()
            }
            Self::Refused { .. } | Self::NoDoor { .. } => return None,
        };
        Some(hint)
    }

    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the engine itself is gone.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Absent(_) | Self::NotRunning(_))
    }
}

impl From<EngineError> for RuntimeError {
    fn from(error: EngineError) -> Self {
        match error.hint() {
            Some(hint) => Self::Engine(format!("{error}. {hint}")),
            None => Self::Engine(error.to_string()),
        }
    }
}

/// An engine that can be used.
#[derive(Debug, Clone)]
pub struct Engine {
    host: EngineHost,
    docker: Docker,
    architecture: Option<String>,
    version: Option<String>,
    product: String,
}

impl Engine {
    /// Connects, and agrees on a version of the interface.
    pub async fn connect(host: &EngineHost) -> Result<Self, EngineError> {
        if let Some(path) = host.socket() {
            probe(host, path).await?;
        }
        let lost = |error| answer(host, error);
        let docker = Docker::connect_with_host(&host.0).map_err(lost)?.with_timeout(ANSWER_TIMEOUT);
        let docker = docker.negotiate_version().await.map_err(lost)?;
        let version = docker.version().await.map_err(lost)?;
        if docker.client_version() < OLDEST_INTERFACE {
            let version = version.version.clone().unwrap_or_default();
            tracing::warn!(version, "the container engine is older than 20.10, for which this was made");
        }
        // Docker calls its own part "Engine", podman "Podman Engine".
        let parts = version.components.iter().flatten().map(|part| part.name.as_str());
        let product = if parts.into_iter().any(|name| name.contains("Podman")) { "podman" } else { "Docker" };
        let product = product.to_owned();
        Ok(Self { host: host.clone(), docker, architecture: version.arch, version: version.version, product })
    }

    /// Where it listens.
    pub fn host(&self) -> &EngineHost {
        &self.host
    }

    /// The client.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The architecture of its machine, as in `amd64`.
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// Its version, as in `28.1.0`.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What it is: `Docker` or `podman`.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Whether it runs on this machine as far as can be told.
    pub fn is_local(&self) -> bool {
        self.host.socket().is_some()
    }

    /// What the client's error means.
    pub fn explain(&self, error: bollard::errors::Error) -> EngineError {
        answer(&self.host, error)
    }
}

fn answer(host: &EngineHost, error: bollard::errors::Error) -> EngineError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { status: status_code, message: message.trim().to_owned() }
        }
        Error::DockerStreamError { error } => EngineError::Refused { status: 500, message: error.trim().to_owned() },
        error => EngineError::Lost { host: host.clone(), reason: chain(&error) },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The system says more of a socket that cannot be used than a client does.
async fn probe(host: &EngineHost, path: &Path) -> Result<(), EngineError> {
    match UnixStream::connect(path).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => EngineError::Absent(path.to_owned()),
            io::ErrorKind::ConnectionRefused => EngineError::NotRunning(host.clone()),
            io::ErrorKind::PermissionDenied => EngineError::Denied { path: path.to_owned(), group: group_of(path) },
            _ => EngineError::Lost { host: host.clone(), reason: error.to_string() },
        }),
    }
}

/// The name of the group that a file belongs to.
fn group_of(path: &Path) -> Option<String> {
    let id = fs::metadata(path).ok()?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(id.as_str())).then(|| name.to_owned())
    })
}

/// A name as engines take it for containers and networks: what may not stand in one becomes a hyphen.
pub fn engine_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        for text in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "http://engine:2375"] {
            assert_eq!(text.parse::<EngineHost>().unwrap().to_string(), text);
        }
        for text in ["", "unix://", "tcp://", "ssh://user@host", "/var/run/docker.sock"] {
            assert_eq!(text.parse::<EngineHost>(), Err(EngineError::Host(text.to_owned())), "{text}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_told_from_one_that_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let host: EngineHost = format!("unix://{}", path.display()).parse().unwrap();
        assert_eq!(Engine::connect(&host).await.unwrap_err(), EngineError::Absent(path.clone()));
        drop(tokio::net::UnixListener::bind(&path).unwrap());
        assert_eq!(Engine::connect(&host).await.unwrap_err(), EngineError::NotRunning(host));
    }

    #[test]
    fn a_group_is_found_by_the_file() {
        assert_eq!(group_of(Path::new("/etc/passwd")).as_deref(), Some("root"));
        let denied = EngineError::Denied { path: "/x".into(), group: Some("docker".into()) };
        assert!(denied.hint().unwrap().contains("group docker"));
    }

    #[test]
    fn names_are_made_fit() {
        assert_eq!(engine_name("a:b+c_D.e-1"), "a-b-c_D.e-1");
    }
}
