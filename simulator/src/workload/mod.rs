//! The workload API: what a module asks its device for. One Unix socket for each module.

pub mod client;
pub(crate) mod exchange;
pub mod keys;
pub mod route;
mod seal;
mod service;
pub mod socket;

#[cfg(test)]
mod socket_tests;
