//! Clients that speak one protocol each, all behind one face. What they say on the wire is written here anew, after what
//! the SDKs say, and shares with the hubs nothing but the codecs of packets and frames.

pub mod amqp;
pub mod amqp_connection;
pub mod amqp_message;
pub mod client;
pub mod https;
pub mod mqtt;
