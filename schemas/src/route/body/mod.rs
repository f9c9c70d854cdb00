//! The payload of a message, looked into by conditions.

pub mod date;
pub mod evaluation;
pub mod path;
pub mod paths;
pub mod scan;
mod skip;
pub mod text;
