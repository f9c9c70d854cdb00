//! `edgectl route`: what a hub makes of routes.

pub mod command;
pub mod eval;
pub mod message;
pub mod test;
