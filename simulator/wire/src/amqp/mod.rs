//! AMQP 1.0 (OASIS Standard, 29 October 2012), for both ends of a connection.
//!
//! Section numbers in the comments are those of the standard, part first. What is written is what the pickiest of the
//! clients reads: descriptors are small numbers, lists are never the empty list's one byte, fields are never left out at
//! the end, and a section without content is not there.

pub mod attach;
pub mod composite;
pub mod condition;
pub mod delivery_state;
pub mod error;
pub mod frame;
pub mod message;
pub mod open;
pub mod performative;
pub mod properties;
pub mod reader;
pub mod sasl;
pub mod session;
pub mod terminus;
pub mod transfer;
pub mod value;
pub mod writer;
