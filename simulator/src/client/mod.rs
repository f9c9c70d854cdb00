//! The client side: what modules, leaf devices, the agent and the edge hub's way to the cloud use to reach a hub.

pub mod cloud_gateway;
pub mod connection;
pub mod device_client;
pub mod handshake;
pub mod incoming;
pub mod pending;
pub mod registry;
pub mod session;
pub mod token;
