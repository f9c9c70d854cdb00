//! Modules that are built in: they stand in for public images that cannot be pulled without a network.
//!
//! Each runs as a process of its own, started from this same program, and connects as every module does: environment,
//! workload API, MQTT over TLS. Nothing in the simulator knows them but the list in [`catalog`].

pub mod catalog;
pub mod filter;
pub mod module;
pub mod temperature_sensor;
pub mod walk;
