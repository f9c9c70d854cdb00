//! A running device on a whole terminal: `edgectl top`.
//!
//! `look` asks the device, `rates` compares two looks, `state` is what is shown and what keys do to it, `view` draws it,
//! and `session` joins them with the terminal.

mod keys;
mod look;
pub mod once;
mod rates;
pub mod session;
pub mod state;
mod terminal;
mod theme;
mod view;
