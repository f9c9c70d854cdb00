//! Configurations: automatic deployments for the devices that a condition is true of.
//!
//! `configuration` is what one is, `configurations` keeps them, `rollout` brings devices what they are to have, `settings`
//! does so for devices and modules without an edge runtime, `counts` tells how far they are.

pub mod configuration;
pub mod configurations;
pub mod counts;
mod rollout;
mod settings;
