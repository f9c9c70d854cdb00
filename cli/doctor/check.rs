//! What a check is, and what it comes back with.

use serde::Serialize;

use super::fix::Fix;
use super::patient::Patient;

/// One thing that is examined. Its code never changes its meaning.
#[derive(Debug)]
pub struct Check {
    /// `DOC` and three digits; the first says the subject.
    pub code: &'static str,
    /// What is examined, in a few words.
    pub title: &'static str,
    /// Whether it has a meaning outside a solution.
    pub scope: Scope,
    /// Looks.
    pub examine: fn(&Patient<'_>) -> Finding,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The machine and its user.
    Machine,
    /// A solution.
    Solution,
}

impl Scope {
    /// The word shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Solution => "solution",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// There is nothing to examine here.
    Skipped,
    /// Worth knowing.
    Note,
    /// Something works less well than it could, or will not for long.
    Warning,
    /// Something does not work.
    Error,
}

impl Verdict {
    /// The word shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a check found.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found: a lower-case fragment.
    pub found: String,
    /// What comes of it, or where it comes from: a sentence.
    pub cause: Option<String>,
    /// The command, or the one thing to do, that mends it.
    pub mend: Option<String>,
    /// What can be done about it here without risk.
    pub fix: Option<Fix>,
}

impl Finding {
    fn new(verdict: Verdict, found: impl Into<String>) -> Self {
        Self { verdict, found: found.into(), cause: None, mend: None, fix: None }
    }

    /// All is well.
    pub fn ok(found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, found)
    }

    /// There is nothing to examine, for this reason.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, why)
    }

    /// Worth knowing.
    pub fn note(found: impl Into<String>) -> Self {
        Self::new(Verdict::Note, found)
    }

    /// It works less well than it could.
    pub fn warning(found: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, found)
    }

    /// It does not work.
    pub fn error(found: impl Into<String>) -> Self {
        Self::new(Verdict::Error, found)
    }

    /// An error where it is needed, else a note.
    pub fn error_if(is_needed: bool, found: impl Into<String>) -> Self {
        Self::new(if is_needed { Verdict::Error } else { Verdict::Note }, found)
    }

    /// Adds what comes of it, or where it comes from.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// Adds what can be done about it here.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

/// Names for people: the first ones, and how many more there are.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
