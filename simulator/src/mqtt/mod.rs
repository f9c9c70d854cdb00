//! What topics and user names of MQTT mean, for both ends: front ends of hubs, and clients of them.

pub mod packets;
pub mod property_bag;
pub mod topic;
pub mod username;
