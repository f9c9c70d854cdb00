//! `edgectl sim`: the simulated device.

pub mod command;
pub mod down;
pub mod up;
