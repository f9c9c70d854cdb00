//! The MQTT front end: `connection` moves packets, `admission` lets clients in, `session` gives their packets meaning,
//! `lane` keeps what the hub does for them in order, `link` is what the hub sees, `outbox` what waits to be written.

pub mod admission;
pub mod connection;
pub mod lane;
pub mod link;
pub mod outbox;
pub mod refusal;
pub mod session;
pub mod stream;
