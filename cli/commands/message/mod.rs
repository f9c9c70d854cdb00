//! `edgectl message`: sending messages, and finding out what became of them.

pub mod command;
pub mod send;
pub mod trace;
