//! What the machine of a device is like.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::architecture::Architecture;

/// A kind of machine, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is like.
    pub machine: Machine,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Of its processor.
    pub architecture: Architecture,
    /// Others whose programs its processor runs too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_runs: Vec<Architecture>,
    /// Processors that modules may use.
    pub cores: NonZeroU32,
    /// Memory that modules may use, all together.
    pub memory: Amount,
    /// Storage that modules may use, all together.
    pub storage: Amount,
}

impl Machine {
    /// Whether programs of an architecture run on it.
    pub fn runs(&self, architecture: Architecture) -> bool {
        self.architecture == architecture || self.also_runs.contains(&architecture)
    }
}

impl fmt::Display for Profile {
    /// In a line: `raspberry-pi-4 (arm64, 4 cores, 4 GiB of memory, 32 GB of storage)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { architecture, cores, memory, storage, .. } = &self.machine;
        let name = &self.name;
        let plural = if cores.get() == 1 { "" } else { "s" };
        write!(f, "{name} ({architecture}, {cores} core{plural}, {memory} of memory, {storage} of storage)")
    }
}
