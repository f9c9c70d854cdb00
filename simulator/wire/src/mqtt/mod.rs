//! MQTT 3.1.1 packets (OASIS Standard, 29 October 2014), for both ends of a connection.
//!
//! Section numbers in the comments are those of the standard.

pub mod codec;
pub mod connect;
pub mod error;
pub mod packet;
pub mod publish;
pub mod reader;
pub mod subscribe;
pub mod writer;
