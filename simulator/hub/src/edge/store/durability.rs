//! How safely a hub keeps what it acknowledged.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// Nothing: messages are in memory alone, and only so many of them.
    Memory,
    /// The death of the process: a message is handed to the system before it is acknowledged.
    #[default]
    Process,
    /// The loss of power: a message is on the disk before it is acknowledged. One sync serves all who wait for one.
    Power,
}

impl Durability {
    /// All of them, the safest last.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Process, Self::Power];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|durability| durability.as_str() == text)
            .ok_or_else(|| format!("{text:?} is none of memory, process and power"))
    }
}
