//! Counting and measuring for Prometheus, under names and labels that are said once.
//!
//! Who counts asks the [`registry`] for a series when the values of its labels are known, keeps it, and from then on pays
//! for an atomic addition alone.

pub mod family;
pub mod metric;
pub mod registry;
pub mod series;
pub mod text;
