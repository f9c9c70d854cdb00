//! A manifest that is ready to be deployed: rendered from the solution's template, or read as it is; checked either way.

use std::path::Path;

use edgectl_simulator::requests::ModuleStatus;
use serde_json::Value;

use crate::error::{CommandError, ErrorKind};
use crate::settings::Context;
use crate::solution::solution::Solution;

/// A manifest without mistakes.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file that people know it by.
    pub name: String,
    /// What each module is told.
    pub modules_content: Value,
}

impl Manifest {
    /// The modules that should run and do not, or are not there at all.
    pub fn waiting_for(&self, modules: &[ModuleStatus]) -> Vec<String> {
        let wanted = self.modules_content.pointer("/$edgeAgent/properties.desired/modules").and_then(Value::as_object);
        let wanted = wanted.into_iter().flatten().filter(|(_, module)| {
            module.get("status").and_then(Value::as_str).is_none_or(|status| status.eq_ignore_ascii_case("running"))
        });
        let is_running = |name: &str| modules.iter().any(|module| module.name == name && module.status == "running");
        wanted.map(|(name, _)| name).filter(|name| !is_running(name)).cloned().collect()
    }
}

/// Reads a manifest as it is.
pub fn read(path: &Path, _context: &Context) -> Result<Manifest, CommandError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        CommandError::usage(format!("{name}: {error}")).hint("Give the path of a deployment manifest.")
    })?;
    let document: Value = serde_json::from_str(&text)
        .map_err(|error| CommandError::new(ErrorKind::Findings, format!("{name}: not JSON: {error}")))?;
    let content = document.get("content").unwrap_or(&document);
    let modules = content.get("modulesContent").or_else(|| content.get("moduleContent")).ok_or_else(|| {
        CommandError::new(ErrorKind::Findings, format!("{name}: there is no modulesContent"))
            .hint("Run `edgectl validate` on it.")
    })?;
    Ok(Manifest { name, modules_content: modules.clone() })
}

/// Renders the solution's template for a platform.
pub fn render(_solution: &Solution, _platform: &str, _context: &Context) -> Result<Manifest, CommandError> {
    Err(CommandError::failed("not there yet"))
}
