//! One file a command: its arguments and its `run`. `device` and `target` hold what several of them need.

pub mod add;
pub mod build;
pub mod demo;
pub mod deploy;
pub mod device;
pub mod events;
pub mod explain;
pub mod internal;
pub mod interrupt;
pub mod layers;
pub mod leaf;
pub mod logs;
pub mod message;
pub mod method;
pub mod new;
pub mod render;
pub mod restart;
pub mod route;
pub mod schema;
pub mod sim;
pub mod status;
pub mod target;
pub mod template;
pub mod twin;
pub mod validate;
pub mod version;
