//! Documents in JSON, JSON with comments, or YAML, as trees that know where each part stands in its text.

#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod document;
pub mod expand;
mod json;
mod nested;
pub mod node;
pub mod source_map;
pub mod write;
mod yaml;
