//! The examination behind `edgectl doctor`: one file a subject, each with a table of its checks.
//!
//! A check looks at a [`patient::Patient`] and comes back with one [`check::Finding`]. It asks nobody, changes nothing and
//! uses no network; what mends a finding without risk is data, a [`fix::Fix`], and carried out only when that is wanted.

pub mod ask;
pub mod catalog;
pub mod check;
pub mod emulation;
pub mod engine;
pub mod examination;
pub mod fix;
pub mod limits;
pub mod manifest;
pub mod network;
pub mod patient;
pub mod registries;
pub mod sources;
pub mod state;
pub mod storage;
pub mod tools;
pub mod user;
