//! The edge hub: what runs on the device between its clients and the cloud hub.

pub mod clients;
pub mod delivery;
mod delivery_upstream;
#[cfg(test)]
mod delivery_vectors;
pub mod hub;
mod line;
pub mod metrics;
pub mod mirror;
pub mod report;
pub mod router;
pub mod scope;
pub mod settings;
pub mod store;
pub mod trail;
pub mod twins;
pub mod upstream;
