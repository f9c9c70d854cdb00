//! Custom endpoints of the cloud hub: routes bring a copy of what it receives to a file, to standard output, or to an HTTP
//! address.
//!
//! All that the hub receives is in its built-in endpoint. Each custom endpoint follows that by itself and remembers how far
//! it is, so that one which fails holds up nothing and loses nothing that the built-in endpoint still has.

pub mod delivery;
pub mod event;
pub mod event_view;
pub mod settings;
pub mod target;
