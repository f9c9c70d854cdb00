//! Registries: sending images to one, fetching them, and a small one of our own.

pub mod client;
pub mod content;
pub mod login;
pub mod pull;
pub mod push;
pub mod reference;
pub mod server;
