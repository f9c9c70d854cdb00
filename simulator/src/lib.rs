//! A device you can run: front ends, agent, module runtimes, workload API, and the cloud hub behind them.

pub mod agent;
pub mod authority;
pub mod runtime;
pub mod tls;
pub mod workload;
