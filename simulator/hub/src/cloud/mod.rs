//! The cloud hub: registry, twins, deployments and received messages, as the service behind a device has them.

pub mod clients;
pub mod cloud_to_device;
pub mod deployments;
pub mod events;
pub mod hub;
pub mod outbox;
pub mod registry;
pub mod twins;
