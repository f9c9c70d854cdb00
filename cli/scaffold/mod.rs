//! Templates to files: solutions and modules that a developer starts from.

pub mod deployment;
pub mod description;
pub mod error;
pub mod fetch;
pub mod library;
pub mod module;
pub mod name;
pub mod parameter;
pub mod solution;
pub mod staging;
pub mod template;
pub mod tree;
pub mod trial;
pub mod values;
