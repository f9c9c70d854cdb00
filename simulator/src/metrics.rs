//! What the edge hub counted and measured, for who asks a running device.

pub use edgectl_hub::edge::metrics::{Family, Kind, Sample};
