//! The real `edgectl` against real clients.

mod add;
mod binary;
mod build;
mod new;
