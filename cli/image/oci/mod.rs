//! Images as the Open Container Initiative specifies them: layers, documents, layouts and archives, without an engine.

pub mod archive;
pub mod base;
pub mod config;
pub mod digest;
pub mod document;
pub mod files;
pub mod layer;
pub mod layout;
pub mod store;
pub mod sweep;
pub mod zstd;
