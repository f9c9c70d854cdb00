//! What the edge hub counted and measured, for who asks a running device.

pub use edgectl_hub::metrics::family::{Family, Sample};
pub use edgectl_hub::metrics::metric::Kind;
