//! `edgectl sim`: the simulated device.

pub mod command;
pub mod down;
pub mod list;
pub mod network;
pub mod plan;
pub mod profiles;
pub mod snapshot;
pub mod up;
