//! The real `edgectl` against real clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

mod add;
mod amqp;
mod binary;
mod build;
mod clients;
mod configurations;
mod custom_endpoints;
mod deploy;
mod device;
mod docker;
mod docker_engine;
mod dockerfiles;
mod doctor;
mod exec;
mod family;
mod fleet;
mod full_disk;
mod golden_path;
mod images;
mod install;
mod layers;
mod management;
mod network;
mod new;
mod node_client;
mod noise;
mod plan;
mod profiles;
mod registry;
mod registry_clients;
mod registry_faults;
mod registry_logins;
mod render;
mod route;
mod schema;
mod sdk;
mod service_clients;
mod snapshot;
mod support_bundle;
mod templates;
mod terminal;
mod toolchains;
mod top;
mod user_templates;
mod validate;
mod watch;
