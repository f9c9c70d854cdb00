//! Images on a container engine: loading what we built, and building what has a Dockerfile.

pub mod build;
pub mod context;
pub mod dockerfile;
pub mod dockerignore;
pub mod load;
pub mod options;
pub mod session;
