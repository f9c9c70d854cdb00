//! `edgectl fleet`: many simulated devices behind one cloud hub.

pub mod command;
mod down;
mod status;
mod up;
