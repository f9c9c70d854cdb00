//! What a cloud hub offers to services over AMQP: messages to devices and what became of them, and the messages of devices
//! as an Event Hubs-compatible endpoint. The AMQP front end carries it and knows nothing of it.
//!
//! `desk` says which address is what, `events` reads a partition for a consumer, `event_message` writes an event as AMQP
//! has it, `management` answers questions about the endpoint, `told` hands out what became of messages to devices and
//! which files came.

pub mod desk;
mod event_message;
mod events;
mod management;
mod told;
