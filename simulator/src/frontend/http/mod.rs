//! The HTTPS front end: `service` and `registry` for those who manage devices, `scope` for edge hubs, `gateway` for
//! modules that call each other, `device` and `device_bound` for devices and modules that send messages and fetch theirs.

pub mod access;
pub mod answer;
pub mod blobs;
pub mod body;
pub mod bulk;
pub mod configurations;
pub mod device;
pub mod device_bound;
pub mod device_messages;
pub mod enrollment_shape;
pub mod enrollments;
pub mod family;
pub mod gateway;
pub mod jobs;
pub mod keys;
pub mod member;
pub mod method;
pub mod page;
pub mod provisioning;
pub mod query;
pub mod registry;
pub mod scope;
pub mod serve;
pub mod service;
pub mod shape;
pub mod twins;
