//! Why nothing was scaffolded.

use std::path::PathBuf;

use crate::error::{CommandError, ErrorKind};
use crate::scaffold::description::Kind;

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
    /// There is no template of that name.
    #[error("there is no template {name:?} for a {}", if *kind == Kind::Module { "module" } else { "solution" })]
    Unknown {
        /// What was to be made.
        kind: Kind,
        /// The name as it was given.
        name: String,
        /// The known ones.
        known: Vec<String>,
        /// The known one that was probably meant.
        meant: Option<String>,
    },
    /// A value for a parameter is missing or wrong.
    #[error("{reason}")]
    Parameter {
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A template of the user has a mistake.
    #[error("the template {name}: {reason}")]
    UserTemplate {
        /// The template.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was to become a template cannot be one.
    #[error("it cannot be a template: {0}")]
    Refused(String),
    /// There is a template of that name.
    #[error("there is a template {0:?} already")]
    TemplateExists(String),
    /// The user has no template of that name.
    #[error("you have no template {name:?}")]
    NotTheUsers {
        /// The name as it was given.
        name: String,
        /// The user's templates.
        known: Vec<String>,
    },
    /// What is named is no directory, no archive and no address of a repository.
    #[error("{0:?} is no directory, no archive and no address of a repository")]
    NoSource(String),
    /// Repositories are read with git.
    #[error("git, with which templates are fetched from repositories, was not found")]
    NoGit,
    /// Templates of the user are kept in their home.
    #[error("there is no place for your templates: neither XDG_DATA_HOME nor HOME is set")]
    NoHome,
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
            | Self::Unknown { .. }
            | Self::Parameter { .. }
            | Self::TemplateExists(_)
            | Self::NotTheUsers { .. }
            | Self::NoSource(_)
            | Self::Exists(_)
            | Self::Declared { .. }
            | Self::NoDeployment(_) => ErrorKind::Usage,
            Self::Syntax { .. } | Self::NoPlace { .. } | Self::UserTemplate { .. } | Self::Refused(_) => {
                ErrorKind::Findings
            }
            Self::NoGit | Self::NoHome => ErrorKind::Missing,
            Self::Template { .. } => ErrorKind::Bug,
            Self::Io { .. } => ErrorKind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { kind, meant: Some(meant), .. } => format!("Did you mean `{} {meant}`?", flag(*kind)),
            Self::Unknown { known, .. } => format!("Give one of these: {}.", known.join(", ")),
            Self::Parameter { hint, .. } => hint.clone(),
            Self::TemplateExists(name) => {
                format!("Give it another one with `--name`, or remove yours with `edgectl template remove {name}`.")
            }
            Self::NotTheUsers { known, .. } if known.is_empty() => "You have none; the others are built in.".to_owned(),
            Self::NotTheUsers { known, .. } => format!("Yours are {}.", known.join(", ")),
            Self::NoSource(_) => "Give a path, or an address such as https://HOST/PATH.".to_owned(),
            Self::NoGit => "Install it; on Debian and Ubuntu: `apt-get install git`.".to_owned(),
            Self::UserTemplate { .. } => "`edgectl template test` says what is wrong with a template.".to_owned(),
            Self::Exists(_) => "Take another name, or move away what is there.".to_owned(),
            Self::Declared { .. } => "Take another name, or remove it there.".to_owned(),
            Self::NoDeployment(_) => "Name it in `edgectl.yaml`, as `template: FILE`.".to_owned(),
            Self::Syntax { .. } => "Mend it there; nothing was changed.".to_owned(),
            Self::NoPlace { .. } => "Add it, with `{}` as its value; nothing was changed.".to_owned(),
            Self::Template { .. } | Self::Io { .. } | Self::Name { .. } | Self::Refused(_) | Self::NoHome => {
                return None;
            }
        })
    }
}

/// The flag that a template of a kind is named with.
fn flag(kind: Kind) -> &'static str {
    if kind == Kind::Module { "--lang" } else { "--from" }
}

impl From<ScaffoldError> for CommandError {
    fn from(error: ScaffoldError) -> Self {
        let command_error = Self::new(error.kind(), error.to_string());
        match (&error, error.hint()) {
            (ScaffoldError::Unknown { meant: Some(_), known, .. }, Some(hint)) => {
                command_error.hint(hint).hint(format!("There are templates for {}.", known.join(", ")))
            }
            (_, Some(hint)) => command_error.hint(hint),
            (_, None) => command_error,
        }
    }
}
