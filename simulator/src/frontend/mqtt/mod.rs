//! The MQTT front end: `connection` moves packets, `admission` lets clients in, `session` gives their packets meaning,
//! `link` is what the hub sees, `outbox` what waits to be written.

pub mod admission;
pub mod connection;
pub mod link;
pub mod outbox;
mod provisioning;
pub mod refusal;
pub mod session;
pub mod stream;
