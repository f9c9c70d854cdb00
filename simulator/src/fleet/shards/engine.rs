//! What runs shards.

use async_trait::async_trait;

use crate::device::DeviceError;
use crate::fleet::shard::ShardOrder;

/// Runs shards. A shard that ends by itself is started again: its devices come back as ones do that had no power.
#[async_trait]
pub trait ShardEngine: Send + Sync {
    /// Starts shards, in place of those that an earlier run of the fleet may have left.
    async fn start(&self, orders: Vec<ShardOrder>) -> Result<(), DeviceError>;

    /// Why a shard does not run, if one does not.
    async fn trouble(&self) -> Option<String>;

    /// Stops all shards. Returns when their devices have said so, or could have.
    async fn stop(&self);
}
