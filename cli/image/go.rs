//! Building a module in Go.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::program;
use crate::image::tool;
use crate::output::progress::Line;

/// Builds the module in `directory`, whose main package is there, with `workspace` for the program.
pub fn build(
    directory: &Path,
    workspace: &Path,
    environment: &BTreeMap<String, String>,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    let go = tool::find(environment, "go").ok_or_else(|| ImageError::Missing {
        what: "go, which builds modules in Go, was not found".to_owned(),
        hint: "Install it; on Debian and Ubuntu: `apt-get install golang-go`.".to_owned(),
    })?;
    let executable = workspace.join("module");
    let before = program::digest_of(&executable).ok();
    let mut command = Command::new(&go);
    // Go knows itself what is to be compiled again. What it says of the version control is no part of the module.
    command.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&executable).arg(".").current_dir(directory);
    let ended = tool::run(&mut command, |text| {
        if text.starts_with("go: downloading") {
            line.update(text);
        } else {
            line.say(text);
        }
    })?;
    if !ended.success {
        return Err(ImageError::Failed { tool: "go build", reason: None });
    }
    let cached = before.is_some() && before == program::digest_of(&executable).ok();
    program::built(&executable, cached, directory)
}
