//! MQTT from both ends: the front end over a hub in memory, our own client, and the listener between them.

mod device_client;
mod front_end;
mod listener;
mod memory_hub;
mod raw_client;
