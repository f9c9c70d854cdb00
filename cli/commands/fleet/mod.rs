//! `edgectl fleet`: many simulated devices behind one cloud hub.

pub mod command;
mod down;
mod image;
mod report;
mod shards;
mod status;
mod up;
