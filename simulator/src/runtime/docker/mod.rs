//! Modules as containers of an engine: Docker, or podman's compatible socket as far as it goes.

pub mod body;
pub mod credentials;
pub mod engine;
mod events;
pub mod exec;
mod images;
pub mod logs;
pub mod network;
mod privileges;
pub mod runtime;
mod state;
