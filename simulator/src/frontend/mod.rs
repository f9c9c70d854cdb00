//! Bytes and topics on one side, calls of a hub's port on the other. A front end holds nothing that a hub should know.
//! `lane` keeps what the hub does for a client in order, whatever the client speaks.

pub mod amqp;
pub mod http;
pub mod lane;
pub mod mqtt;
pub mod service;
pub mod twin_refusal;
pub mod websocket;
