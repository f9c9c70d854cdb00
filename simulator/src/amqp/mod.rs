//! What AMQP means to a hub: addresses, and messages of each kind of link.

pub mod address;
pub mod cbs;
pub mod frames;
pub mod message;
pub mod method;
pub mod sasl;
pub mod text;
pub mod twin;
