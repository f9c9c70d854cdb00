//! The cloud hub: registry, twins, deployments and received messages, as the service behind a device has them.

pub mod activity;
pub mod clients;
pub mod cloud_to_device;
pub mod configurations;
pub mod deployments;
pub mod enrollments;
pub mod events;
pub mod feedback;
pub mod held;
pub mod hub;
pub mod jobs;
mod metadata;
mod notices;
pub mod outbox;
pub mod policies;
pub mod provisioner;
pub mod query;
pub mod records;
pub mod registry;
pub mod target;
pub mod twins;
pub mod uploads;
