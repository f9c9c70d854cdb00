//! What is wrong with a document, where, and what to do about it.

use crate::document::document::{Document, Format, ParseError};
use crate::document::node::Span;
use crate::rules;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The device refuses it, or does something else than is written.
    Error,
    /// It is accepted, and very likely not what is meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is checked. Its code never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// `EDGE` and four digits.
    pub code: &'static str,
    /// How bad a breach is.
    pub severity: Severity,
    /// What a breach is, in a few words.
    pub title: &'static str,
    /// Why it matters, with an example.
    pub explanation: &'static str,
}

/// Another place that has to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The place.
    pub span: Span,
    /// What is there.
    pub message: String,
}

/// A change that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// The rule.
    pub rule: &'static Rule,
    /// What is wrong: a lower-case fragment that names what it is about.
    pub message: String,
    /// The place: in the text that was read, and once [`locate`](Diagnostic::locate)d, in the file.
    pub span: Span,
    /// The path in the document.
    pub path: String,
    /// What stands under the place.
    pub label: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
    /// What to do.
    pub help: Option<String>,
    /// The one change that mends it.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// A breach at a place.
    pub fn new(rule: &'static Rule, span: Span, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            span,
            path: String::new(),
            label: None,
            related: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// Adds what stands under the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push(Related { span, message: message.into() });
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the change that mends it.
    #[must_use]
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }

    /// Fills in the path, and turns places in the text that was read into places in the file. Once for each.
    #[must_use]
    pub fn locate(mut self, document: &Document) -> Self {
        self.path = document.root.path_at(self.span.start);
        self.span = document.source_span(self.span);
        for related in &mut self.related {
            related.span = document.source_span(related.span);
        }
        // A change inside a replaced variable would change more than is meant.
        self.fix = self.fix.take().and_then(|fix| {
            let span = document.source_span(fix.span);
            (document.source.get(span.range()) == document.text().get(fix.span.range())).then_some(Fix { span, ..fix })
        });
        self
    }
}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The file's name as people know it.
    pub name: String,
    /// Its text; may be empty if nothing is wrong.
    pub source: String,
    /// What is wrong, with places in that text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Findings {
    /// What is wrong with a document; sorted by place, with places in the file.
    pub fn of(document: &Document, diagnostics: Vec<Diagnostic>) -> Self {
        let mut diagnostics: Vec<_> = diagnostics.into_iter().map(|found| found.locate(document)).collect();
        diagnostics.sort_by_key(|found| (found.span, found.rule.code));
        diagnostics.dedup();
        // The text is there to show findings in; without any, it is not copied.
        let source = if diagnostics.is_empty() { String::new() } else { document.source.clone() };
        Self { name: document.name.clone(), source, diagnostics }
    }

    /// A text that could not be read.
    pub fn unreadable(name: &str, source: String, error: &ParseError, format: Format) -> Self {
        let format = match format {
            Format::Json => "JSON",
            Format::Yaml => "YAML",
        };
        let found =
            Diagnostic::new(&rules::NOT_READABLE, error.span, format!("this is not {format}: {}", error.message));
        Self { name: name.to_owned(), source, diagnostics: vec![found] }
    }

    /// How many there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|found| found.rule.severity == severity).count()
    }
}

/// The candidate that is most like a misspelt word, if one is like it at all.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, candidate)| *likeness > 0.84 && *candidate != word)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
