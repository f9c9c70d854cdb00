//! The conformance suite: both hubs behind all their doors, and every behaviour through every door that has it.
//!
//! `table` says which protocol has which behaviour. `clients` speak the protocols over loopback TLS, each all behind one
//! face. A behaviour is tried in a file of its own, from telemetry to impersonation; what is peculiar to one protocol
//! stands in `https`, `websocket`, `limits` and `methods`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clients;
mod door;
mod site;
mod table;

mod authentication;
mod cloud_to_device;
mod impersonation;
mod lacking;
mod oversized;
mod refusals;
mod routing;
mod sessions;
mod take_over;
mod telemetry;
mod time;
mod twins;

mod https;
mod limits;
mod methods;
mod vectors;
mod websocket;
