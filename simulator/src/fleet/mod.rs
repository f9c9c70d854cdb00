//! Fleets: many simulated devices in one process behind one cloud hub, each with its identity, twin, agent and edge hub, and
//! with generators in place of modules, so that a roll-out can be rehearsed.

pub mod admission;
pub mod agent_connection;
pub mod chance;
#[expect(clippy::module_inception, reason = "the room is named for what it holds")]
pub mod fleet;
pub mod generator;
pub mod generators;
pub mod member;
pub mod members;
pub mod network;
pub mod rate;
pub mod registration;
pub mod report;
pub mod requests;
pub mod shard;
pub mod shards;
pub mod status;
pub mod tally;
pub mod ties;
pub mod way;
