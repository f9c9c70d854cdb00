//! The MQTT front end: `connection` moves packets, `client` gives them their meaning, `link` is what the hub sees.

pub mod client;
pub mod connection;
pub mod link;
pub mod refusal;
