//! One file a command: its arguments and its `run`. `device`, `scaffolding` and `target` hold what several of them
//! need.

pub mod add;
pub mod build;
pub mod demo;
pub mod deploy;
pub mod device;
pub mod doctor;
pub mod events;
pub mod exec;
pub mod explain;
pub mod inspect;
pub mod internal;
pub mod interrupt;
pub mod layers;
pub mod leaf;
pub mod logs;
pub mod message;
pub mod method;
pub mod metrics;
pub mod module_name;
pub mod new;
pub mod registry;
pub mod render;
pub mod restart;
pub mod route;
pub mod scaffolding;
pub mod schema;
pub mod sim;
pub mod status;
pub mod support_bundle;
pub mod target;
pub mod template;
pub mod top;
pub mod twin;
pub mod validate;
pub mod version;
