//! A command that cannot go on: what kind of trouble, why, and what to do. The kind decides the exit status.

use std::fmt;

use serde_json::{Value, json};

/// The kinds of trouble. Their exit statuses are documented in `docs/reference/exit-status.md` and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The operation failed.
    Failed,
    /// The command line is wrong, or an input is missing.
    Usage,
    /// What was checked has errors.
    Findings,
    /// A module, or an image, could not be built.
    Build,
    /// Something on the machine is missing.
    Missing,
    /// It took too long.
    TimedOut,
    /// Something would change.
    Changes,
    /// The other side refused.
    Denied,
    /// A mistake of ours.
    Bug,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// A command that was run for the user ended with this status, which becomes ours.
    OfCommand(u8),
}

impl ErrorKind {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Findings => 3,
            Self::Build => 5,
            Self::Missing => 6,
            Self::TimedOut => 7,
            Self::Changes => 8,
            Self::Denied => 9,
            Self::Bug => 70,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::OfCommand(status) => status,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Findings => "findings",
            Self::Build => "build",
            Self::Missing => "missing",
            Self::TimedOut => "timedOut",
            Self::Changes => "changes",
            Self::Denied => "denied",
            Self::Bug => "bug",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::OfCommand(_) => "ofCommand",
        }
    }
}

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub struct CommandError {
    /// Decides the exit status.
    pub kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    /// Boxed, since every result carries room for an error.
    details: Option<Box<Value>>,
    silent: bool,
}

impl CommandError {
    /// An error with a message: a lower-case fragment that names what it is about.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), details: None, silent: false }
    }

    /// The operation failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The command line is wrong, or an input is missing.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Something on the machine is missing.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Missing, message)
    }

    /// An exit status whose explanation the command has shown already, as its result.
    pub fn shown(kind: ErrorKind) -> Self {
        Self { silent: true, ..Self::new(kind, "") }
    }

    /// Adds a thing to do, a sentence that starts with a verb.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds data for `--json`.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Whether the command has shown everything itself.
    pub fn is_shown(&self) -> bool {
        self.silent
    }

    /// What can be done about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The error as `--json` shows it.
    pub fn to_json(&self) -> Value {
        let mut error = json!({ "kind": self.kind.word(), "status": self.kind.status(), "message": self.message });
        if !self.hints.is_empty() {
            error["hints"] = json!(self.hints);
        }
        if let Some(details) = &self.details {
            error["details"] = details.as_ref().clone();
        }
        json!({ "error": error })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error and all its causes in one line, outermost first.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat their cause; once is enough.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
