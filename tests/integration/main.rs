//! The real `edgectl` against real clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod add;
mod binary;
mod build;
mod install;
mod new;
mod render;
