//! What the edge hub keeps until it is delivered: one log of messages, and for each endpoint a place in it.
//!
//! `store` is what the others use. Below it `queue` knows what waits for one endpoint, `log` writes the segments, `reading`
//! goes back to them, `segment` knows one, `record` has the bytes, `commit` shares syncs, `files` is where it all lies, and
//! `prepared` makes room there in advance.

pub mod commit;
pub mod durability;
pub mod files;
pub mod log;
pub mod prepared;
pub mod queue;
pub mod reading;
pub mod record;
pub mod segment;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod store;
#[cfg(test)]
mod store_model;
#[cfg(test)]
mod store_tests;
