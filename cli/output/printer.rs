//! What commands print with. `--json` is another rendering of the same result.

#![expect(clippy::print_stderr, reason = "this is the one place that prints")]
#![expect(clippy::unused_self, reason = "who has a printer may print, and who has none may not")]

use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::CommandError;
use crate::output::style::Style;

/// The result of a command: data for `--json`, and the text a person reads.
pub trait Report: Serialize {
    /// The text, with a line end behind its last line; empty if there is nothing to say.
    fn text(&self, style: Style) -> String;
}

/// Writes results, notes and errors where they belong.
#[derive(Debug, Clone)]
pub struct Printer {
    /// Results as JSON.
    pub json: bool,
    /// No notes.
    pub quiet: bool,
    /// Colours of standard output.
    pub out: Style,
    /// Colours of standard error.
    pub err: Style,
}

impl Printer {
    /// A printer of JSON, for when the flags could not be read.
    pub fn plain_json() -> Self {
        Self { json: true, quiet: false, out: Style { color: false }, err: Style { color: false } }
    }

    /// Prints a result on standard output.
    pub fn result<R: Report>(&self, report: &R) {
        if self.json {
            self.json_document(report);
        } else {
            self.raw(report.text(self.out).as_bytes());
        }
    }

    /// Prints one item of a stream: a line of JSON, or a text line.
    pub fn item<R: Report>(&self, report: &R) {
        if self.json {
            let mut line = serde_json::to_vec(report).unwrap_or_default();
            line.push(b'\n');
            self.raw(&line);
        } else {
            self.raw(report.text(self.out).as_bytes());
        }
    }

    /// Prints bytes on standard output as they are.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            leave_on_broken_output(&error);
        }
    }

    /// Prints bytes on standard error as they are.
    pub fn raw_trouble(&self, bytes: &[u8]) {
        // Where trouble cannot be told there is nobody to tell that to.
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// Says on standard error what is going on; not with `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says on standard error what went wrong, where that is not the end.
    pub fn failure(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Shows on standard error what was laid out for a person to read.
    pub fn trouble(&self, text: &str) {
        eprintln!("{text}\n");
    }

    /// Says why a command failed, and what to do: on standard error, or as the JSON result.
    pub fn error(&self, error: &CommandError) {
        if self.json {
            self.json_document(&error.to_json());
            return;
        }
        eprintln!("{} {error}", self.err.red("error:"));
        for hint in error.hints() {
            eprintln!("  {} {hint}", self.err.cyan("hint:"));
        }
    }

    fn json_document<T: Serialize>(&self, value: &T) {
        let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
        text.push(b'\n');
        self.raw(&text);
    }
}

/// A reader that went away (`edgectl events | head -1`) is no error; a full disk behind standard output is.
fn leave_on_broken_output(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("error: could not write the result: {error}");
    std::process::exit(1);
}
