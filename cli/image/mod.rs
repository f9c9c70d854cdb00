//! Building modules, and keeping what was built for those who run it.

pub mod build;
pub mod error;
pub mod kind;
pub mod plan;
pub mod python;
pub mod python_code;
pub mod records;
pub mod rust;
pub mod tool;
