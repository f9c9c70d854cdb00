//! MQTT from both ends: the front end over a hub in memory, our own client, and the listener between them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

mod cloud_hub;
mod device_client;
mod front_end;
mod listener;
mod memory_hub;
mod raw_client;
mod secure;
mod vectors;
