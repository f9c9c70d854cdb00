//! What became of messages to devices, for the service that sent them and asked to be told.

use edgectl_schemas::ids::DeviceId;
use serde::{Deserialize, Serialize};

use super::records::Records;
use crate::documents::Table;

/// Where the records are.
pub const TABLE: Table = Table::new("feedback");
/// Records in one message.
pub const MAX_IN_BATCH: usize = 64;

/// The records that nobody has fetched yet.
pub type Feedback = Records<Record>;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The device took it.
    Success,
    /// Its time was over.
    Expired,
    /// It was delivered too often without success.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// It was removed from the queue.
    Purged,
}

impl Fate {
    /// Whether a sender that asked for such feedback is told: `none`, `positive`, `negative` or `full`.
    pub fn is_told(self, asked: Option<&str>) -> bool {
        match asked.map(str::to_ascii_lowercase).as_deref() {
            Some("full") => true,
            Some("positive") => self == Self::Success,
            Some("negative") => self != Self::Success,
            _ => false,
        }
    }
}

/// A record, in the service's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The message's own identifier.
    pub original_message_id: String,
    /// When its fate was known.
    pub enqueued_time_utc: String,
    /// What became of it.
    pub status_code: Fate,
    /// The same, for people.
    pub description: Fate,
    /// The device.
    pub device_id: DeviceId,
    /// The device's generation.
    pub device_generation_id: String,
}
