//! A solution on disk: where it is, what its file says, where its state lies.

pub mod manifest;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod solution;
