//! A device you can run: front ends, agent, module runtimes, workload API, and the cloud hub behind them.

pub mod above;
pub mod address;
pub mod agent;
pub mod agent_link;
pub mod amqp;
pub mod authority;
pub mod builtin;
pub mod client;
pub mod client_certificate;
pub mod containers;
pub mod control;
pub mod device;
pub mod frontend;
pub mod link;
pub mod listen;
pub mod message;
pub mod modules;
pub mod mqtt;
pub mod ports;
pub mod requests;
pub mod runtime;
pub mod server_certificate;
pub mod state;
pub mod thumbprint;
pub mod tls;
pub mod workload;
