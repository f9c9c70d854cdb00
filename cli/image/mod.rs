//! Building modules, and keeping what was built for those who run it.

pub mod build;
pub mod error;
pub mod go;
pub mod kind;
pub mod make;
pub mod node;
pub mod plan;
pub mod program;
pub mod python;
pub mod records;
pub mod rust;
pub mod source_hash;
pub mod tool;
