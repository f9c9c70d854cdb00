//! What a device's runtime modules counted and measured, for who asks.

pub mod device_metrics;
pub mod endpoint;
pub mod machine;
pub mod processes;
pub mod resources;

pub use edgectl_hub::metrics::family::{Family, Sample};
pub use edgectl_hub::metrics::text;
