//! Images on a container engine: loading what we built, and building what has a Dockerfile.

pub mod dockerignore;
pub mod load;
