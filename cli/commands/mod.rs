//! One file a command: its arguments and its `run`.

pub mod add;
pub mod build;
pub mod new;
pub mod render;
pub mod template;
pub mod version;
