//! A support bundle: all that is known of a running device as one archive, without its secrets.

pub mod bundle;
pub mod checks;
