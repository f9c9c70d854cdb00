//! A solution on disk: where it is, what its files say, and the manifest its template stands for.

pub mod check;
pub mod dotenv;
pub mod endpoints;
pub mod files;
pub mod known_devices;
pub mod manifest;
pub mod module_json;
pub mod placeholder;
pub mod profile;
pub mod render;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod solution;
pub mod sources;
