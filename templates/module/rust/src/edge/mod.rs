//! A client of the edge hub: what a module needs of it, over MQTT.
//!
//! [`Module`] is all that the rest of the program sees.

mod connection;
mod environment;
mod error;
mod message;
mod module;
mod topic;
mod twin;
mod workload;

pub use error::Error;
pub use message::Message;
pub use module::{Event, Method, Module};
