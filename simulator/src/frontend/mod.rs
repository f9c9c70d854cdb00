//! Bytes and topics on one side, calls of a hub's port on the other. A front end holds nothing that a hub should know.

pub mod http;
pub mod mqtt;
pub mod websocket;
