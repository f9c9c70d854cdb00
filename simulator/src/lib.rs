//! A device you can run: front ends, agent, module runtimes, workload API, and the cloud hub behind them.

pub mod address;
pub mod agent;
pub mod authority;
pub mod client;
pub mod control;
pub mod frontend;
pub mod listen;
pub mod mqtt;
pub mod runtime;
pub mod state;
pub mod tls;
pub mod workload;
