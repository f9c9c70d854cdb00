//! Running the devices of a fleet as shards: processes of their own, or tasks of a swarm of container engines.

pub mod engine;
pub mod processes;
pub mod swarm;
