//! The documents of an edge solution, and what can be known about them without a device.
//!
//! Pure: no input or output, no clock, no environment, no tasks.

pub mod diagnostic;
pub mod document;
pub mod ids;
pub mod manifest;
pub mod published;
pub mod query;
pub mod route;
pub mod rules;
pub mod sas;
pub mod twin;
