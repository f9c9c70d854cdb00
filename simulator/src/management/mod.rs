//! The management API: what the real daemon offers its agent, for tools that speak it. One Unix socket for the device.

pub mod caller;
mod identities;
pub mod logs;
mod modules;
pub mod route;
pub mod service;
mod specification;
mod system;

#[cfg(test)]
mod vectors;
