//! All metrics of a device.

use std::sync::Arc;

use edgectl_hub::edge::hub::EdgeHub;
use edgectl_hub::metrics::family::Family;

use super::resources::Resources;

/// Where a device's metrics come from.
#[derive(Clone)]
pub struct DeviceMetrics {
    /// The edge hub counts for itself.
    pub edge: Arc<EdgeHub>,
    /// What the agent counts, and what it sees of the machine.
    pub resources: Arc<Resources>,
}

impl DeviceMetrics {
    /// All metrics, with their values now.
    pub async fn families(&self) -> Vec<Family> {
        let mut families = self.resources.families().await;
        families.extend(self.edge.metrics());
        families
    }
}
