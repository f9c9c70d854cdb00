//! What arguments name: a module or the device, and JSON given in place, in a file or on standard input.

use std::io::Read as _;
use std::path::Path;

use edgectl_schemas::ids::{DeviceId, Identity, ModuleId};
use serde_json::Value;

use crate::error::CommandError;
use crate::solution::solution::Solution;

/// The identity of a module of the solution's device, or of the device. The runtime's modules may be named as in the
/// manifest's `systemModules`.
pub fn identity(solution: &Solution, module: Option<&str>) -> Result<Identity, CommandError> {
    let device = solution.device.clone();
    let Some(name) = module else { return Ok(Identity::device(device)) };
    let name = match name {
        "edgeAgent" => "$edgeAgent",
        "edgeHub" => "$edgeHub",
        name => name,
    };
    let module = ModuleId::new(name).map_err(|error| CommandError::usage(format!("module {name:?}: {error}")))?;
    Ok(Identity::module(device, module))
}

/// The identity of a leaf device.
pub fn leaf(name: &str) -> Result<Identity, CommandError> {
    let device = DeviceId::new(name).map_err(|error| CommandError::usage(format!("leaf device {name:?}: {error}")))?;
    Ok(Identity::device(device))
}

/// Bytes given in place, as `@FILE`, or as `-` for standard input.
pub fn bytes_argument(text: &str, directory: &Path) -> Result<Vec<u8>, CommandError> {
    if text == "-" {
        let mut bytes = Vec::new();
        return std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map(|_| bytes)
            .map_err(|error| CommandError::failed(format!("standard input: {error}")));
    }
    match text.strip_prefix('@') {
        None => Ok(text.as_bytes().to_vec()),
        Some(path) => {
            std::fs::read(directory.join(path)).map_err(|error| CommandError::usage(format!("{path}: {error}")))
        }
    }
}

/// JSON given in place, as `@FILE`, or as `-` for standard input.
pub fn json_argument(text: &str, directory: &Path, what: &str) -> Result<Value, CommandError> {
    let bytes = bytes_argument(text, directory)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        CommandError::usage(format!("{what} is not JSON: {error}"))
            .hint("Quote it for the shell, as in '{\"interval\": 5}', or give @FILE.")
    })
}
