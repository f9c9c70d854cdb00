//! What makes a device refuse or misread a manifest, by subject. Each rule is a small function.

mod agent;
mod broker;
mod container;
mod create_options;
mod envelope;
mod hub;
mod image;
mod module;
mod ports;
mod routes;
pub mod run;
mod secrets;
mod subject;
mod twin;
