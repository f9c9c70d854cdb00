//! Building modules, and keeping what was built for those who run it.

pub mod at_once;
pub mod build;
pub mod content;
pub mod engine;
pub mod error;
pub mod images;
pub mod inputs;
pub mod kind;
pub mod oci;
pub mod output;
pub mod own;
pub mod pin;
pub mod plan;
pub mod platform;
pub mod python;
pub mod python_code;
pub mod records;
pub mod registry;
pub mod revision;
pub mod rust;
pub mod sbom;
pub mod tool;
pub mod workspace;
