//! What the edge hub keeps until it is delivered: one log of messages, and for each endpoint a cursor into it.

pub mod log;
pub mod queue;
pub mod record;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod store;
