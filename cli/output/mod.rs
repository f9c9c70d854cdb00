//! The one writer: results on standard output, progress and trouble on standard error.

pub mod diagnostics;
pub mod file;
pub mod findings;
pub mod printer;
pub mod progress;
pub mod prompt;
pub mod style;
pub mod table;
pub mod terminal;
