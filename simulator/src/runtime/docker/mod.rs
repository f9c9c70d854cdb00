//! Modules as containers of an engine: Docker, or podman's compatible socket as far as it goes.

pub mod body;
pub mod engine;
pub mod logs;
pub mod runtime;
mod state;
