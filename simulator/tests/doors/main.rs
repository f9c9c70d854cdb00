//! Both hubs behind all their doors: MQTT and AMQP, both in a `WebSocket` too, and HTTPS, with tokens and certificates, over loopback
//! TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod amqp;
mod client;
mod https;
mod limits;
mod methods;
mod security;
mod site;
mod vectors;
mod websocket;
