//! The edge hub: what runs on the device between its clients and the cloud hub.

pub mod delivery;
pub mod store;
pub mod twins;
pub mod upstream;
