//! The AMQP front end over a hub in memory: what it makes of what clients say, frame by frame.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod opening;
mod raw_client;
mod receiving;
mod requests;
mod sending;
mod shared;

#[path = "../mqtt/memory_hub.rs"]
mod memory_hub;
