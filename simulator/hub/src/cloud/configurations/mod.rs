//! Configurations: automatic deployments for the devices that a condition is true of.
//!
//! `configuration` is what one is, `all` keeps them, `rollout` brings devices what they are to have, `settings`
//! does so for devices and modules without an edge runtime, `counts` tells how far they are.

pub mod all;
pub mod configuration;
pub mod counts;
mod rollout;
mod rule;
mod settings;
