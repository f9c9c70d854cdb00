//! Templates to files: solutions and modules that a developer starts from.

pub mod deployment;
pub mod error;
pub mod language;
pub mod module;
pub mod name;
pub mod solution;
pub mod staging;
pub mod template;
