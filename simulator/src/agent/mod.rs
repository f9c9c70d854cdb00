//! The edge agent: desired modules against running ones.
//!
//! All but the agent's loop and its methods is pure: what is desired, what differs, what to do about it, and how to
//! tell the hub.

pub mod deployment;
pub mod diff;
pub mod environment;
pub mod forecast;
pub mod identity;
mod ledger;
pub mod methods;
pub mod metrics;
pub mod plan;
pub mod reconcile;
pub mod report;
pub mod restart;
pub mod runner;

#[cfg(test)]
mod plan_properties;
#[cfg(test)]
mod reconcile_tests;
#[cfg(test)]
mod vectors;
