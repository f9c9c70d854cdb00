//! Packets of the protocols that devices speak, as pure functions between bytes and values.

pub mod amqp;
pub mod mqtt;
