//! The service API of a hub, as a client: the same for the simulated cloud hub and the real one.

pub mod access;
pub mod client;
pub mod configurations;
pub mod enrollments;
