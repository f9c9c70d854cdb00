//! The edge hub: what runs on the device between its clients and the cloud hub.

pub mod store;
pub mod upstream;
