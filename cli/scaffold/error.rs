//! Why nothing was scaffolded.

use std::path::PathBuf;

use crate::error::{CommandError, ErrorKind};

/// Why nothing was scaffolded. Nothing was written where one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// A name that cannot be used.
    #[error("{what} name {name:?}: {reason}")]
    Name {
        /// What was to be named: a module or a solution.
        what: &'static str,
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A language that there is no template for.
    #[error("there is no template for language {language:?}")]
    Language {
        /// The language as it was given.
        language: String,
        /// The known languages.
        known: Vec<String>,
        /// The known language that was probably meant.
        meant: Option<String>,
    },
    /// The place is taken.
    #[error("{} exists already and is not an empty directory", .0.display())]
    Exists(PathBuf),
    /// The deployment template has the module already.
    #[error("{} has a {what} {name:?} already", path.display())]
    Declared {
        /// The deployment template.
        path: PathBuf,
        /// A module or a route.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The deployment template is not there.
    #[error("there is no deployment template {}", .0.display())]
    NoDeployment(PathBuf),
    /// The deployment template is no JSON.
    #[error("{}:{line}:{column}: not JSON: {reason}", path.display())]
    Syntax {
        /// The deployment template.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The deployment template lacks the place where a module or a route would stand.
    #[error("{} has no object {place}", path.display())]
    NoPlace {
        /// The deployment template.
        path: PathBuf,
        /// The names of the members that lead there.
        place: String,
    },
    /// A template of ours cannot be used.
    #[error("the built-in template {name}: {reason}")]
    Template {
        /// The template, or the file in it.
        name: String,
        /// What is wrong with it.
        reason: String,
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

impl ScaffoldError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. }
            | Self::Language { .. }
            | Self::Exists(_)
            | Self::Declared { .. }
            | Self::NoDeployment(_) => ErrorKind::Usage,
            Self::Syntax { .. } | Self::NoPlace { .. } => ErrorKind::Findings,
            Self::Template { .. } => ErrorKind::Bug,
            Self::Io { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Language { meant: Some(meant), .. } => format!("Did you mean `--lang {meant}`?"),
            Self::Language { known, .. } => format!("Give one of these: {}.", known.join(", ")),
            Self::Exists(_) => "Take another name, or move away what is there.".to_owned(),
            Self::Declared { .. } => "Take another name, or remove it there.".to_owned(),
            Self::NoDeployment(_) => "Name it in `edgectl.yaml`, as `template: FILE`.".to_owned(),
            Self::Syntax { .. } => "Mend it there; nothing was changed.".to_owned(),
            Self::NoPlace { .. } => "Add it, with `{}` as its value; nothing was changed.".to_owned(),
            Self::Template { .. } | Self::Io { .. } | Self::Name { .. } => return None,
        })
    }
}

impl From<ScaffoldError> for CommandError {
    fn from(error: ScaffoldError) -> Self {
        let command_error = Self::new(error.kind(), error.to_string());
        match (&error, error.hint()) {
            (ScaffoldError::Language { meant: Some(_), known, .. }, Some(hint)) => {
                command_error.hint(hint).hint(format!("There are templates for {}.", known.join(", ")))
            }
            (_, Some(hint)) => command_error.hint(hint),
            (_, None) => command_error,
        }
    }
}
