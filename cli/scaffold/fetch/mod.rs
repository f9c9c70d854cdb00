//! Getting templates from where users have them: a directory, a repository, an archive.

pub mod archive;
pub mod git;
pub mod place;
