//! Why a module was not built.

use std::path::PathBuf;

use crate::error::{CommandError, ErrorKind};

/// Why a module was not built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Its build failed; what the tool said was shown already.
    #[error("{tool} failed{}", .reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Failed {
        /// The tool that failed.
        tool: &'static str,
        /// Its last word, where it is worth repeating.
        reason: Option<String>,
    },
    /// Something on the machine is missing.
    #[error("{what}")]
    Missing {
        /// What is missing, and for what.
        what: String,
        /// What to do.
        hint: String,
    },
    /// It cannot be told how to build it.
    #[error("{reason}")]
    Unbuildable {
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// Something is not, or not wholly, an image.
    #[error("{what}: {reason}")]
    NoImage {
        /// The file, directory or digest.
        what: String,
        /// Why.
        reason: String,
    },
    /// A base image cannot be fetched.
    #[error("the base image {name} cannot be fetched: {reason}")]
    NoBase {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A registry does not give a base image to who asks.
    #[error("the base image {name} cannot be fetched: {reason}")]
    DeniedBase {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The container engine is not there, or did not do what was asked.
    #[error("{reason}")]
    Engine {
        /// What happened.
        reason: String,
    },
    /// Dockerfiles need an engine, and there is none.
    #[error("a Dockerfile is built by a container engine, and {reason}")]
    NoEngine {
        /// Why there is none.
        reason: String,
    },
    /// Content does not match its digest any more.
    #[error("{digest} was damaged on disk, and was removed")]
    Corrupt {
        /// The digest.
        digest: String,
    },
    /// A file that may not become part of an image.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ImageError {
    /// The failure of a file operation.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// The kind of trouble that this is for a command.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { .. } | Self::Unbuildable { .. } | Self::NoImage { .. } | Self::Unfit { .. } => {
                ErrorKind::Build
            }
            Self::Missing { .. } | Self::NoEngine { .. } => ErrorKind::Missing,
            Self::DeniedBase { .. } => ErrorKind::Denied,
            Self::Io { .. } | Self::Corrupt { .. } | Self::NoBase { .. } | Self::Engine { .. } => ErrorKind::Failed,
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { hint, .. }
            | Self::Unbuildable { hint, .. }
            | Self::DeniedBase { hint, .. }
            | Self::Unfit { hint, .. } => Some(hint),
            Self::NoBase { .. } => Some(
                "Name one that can be, `\"edgectl\": { \"base\": … }` in module.json: of a registry, or `oci:DIRECTORY`, \
                 `docker-archive:FILE`.",
            ),
            Self::Corrupt { .. } => Some("Run the command again: what was removed is made or fetched anew."),
            Self::NoEngine { .. } => Some(
                "Start one, or let edgectl build without: `--builder own`, or `\"edgectl\": { \"builder\": \"own\" }` in \
                 module.json.",
            ),
            Self::Failed { .. } | Self::Io { .. } | Self::NoImage { .. } | Self::Engine { .. } => None,
        }
    }
}

impl From<ImageError> for CommandError {
    fn from(error: ImageError) -> Self {
        let command_error = Self::new(error.kind(), error.to_string());
        match error.hint() {
            Some(hint) => command_error.hint(hint),
            None => command_error,
        }
    }
}
