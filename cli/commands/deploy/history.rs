//! What was deployed to a device from here, so that it can be deployed again. It holds what manifests hold, credentials
//! too, and is the user's alone.

use std::path::PathBuf;

use edgectl_schemas::ids::DeviceId;
use edgectl_schemas::sas::encode;
use edgectl_simulator::state::{read_json, write_json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CommandError;
use crate::service::access;
use crate::solution::manifest::Manifest;
use crate::solution::solution::Solution;

/// Deployments that are remembered of each device.
const MAX_DEPLOYMENTS: usize = 10;

/// The deployments of one device.
pub struct History {
    folder: PathBuf,
    file: PathBuf,
}

/// A deployment that the hub took.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// When.
    pub at: Timestamp,
    /// The file that people know it by.
    pub manifest: String,
    /// What each module was told.
    pub modules_content: Value,
}

impl History {
    /// Of a simulated device of the solution.
    pub fn of_device(solution: &Solution, device: &DeviceId) -> Self {
        Self::of(solution, &format!("device-{device}.json"))
    }

    /// Of the device of a target.
    pub fn of_target(solution: &Solution, target: &str) -> Self {
        // A name may have slashes and other things that names of files have not.
        Self::of(solution, &format!("target-{}.json", encode(target)))
    }

    fn of(solution: &Solution, name: &str) -> Self {
        let folder = solution.state().join("deployments");
        Self { file: folder.join(name), folder }
    }

    /// All that are remembered, the oldest first.
    pub fn all(&self) -> Result<Vec<Deployment>, CommandError> {
        Ok(read_json(&self.file).map_err(access::damaged)?.unwrap_or_default())
    }

    /// Remembers what was deployed, if it is not what was deployed last.
    pub fn record(&self, manifest: &Manifest) -> Result<(), CommandError> {
        let mut all = self.all()?;
        if all.last().is_some_and(|last| last.modules_content == manifest.modules_content) {
            return Ok(());
        }
        all.push(Deployment {
            at: Timestamp::now(),
            manifest: manifest.name.clone(),
            modules_content: manifest.modules_content.clone(),
        });
        all.drain(..all.len().saturating_sub(MAX_DEPLOYMENTS));
        self.write(&all)
    }

    /// Remembers these and no others.
    pub fn write(&self, all: &[Deployment]) -> Result<(), CommandError> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| CommandError::failed(format!("{}: {error}", self.folder.display())))?;
        write_json(&self.file, &all).map_err(access::damaged)
    }
}
