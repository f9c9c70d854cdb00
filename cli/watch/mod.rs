//! Following the files of a solution while its device runs: what changed is built, and only that is restarted.

pub mod changes;
mod outputs;
pub mod session;
mod tree;
