//! A program in Go, which its own compiler builds for every platform.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::content::{Content, Job, Package, of_program};
use super::elf;
use crate::image::error::ImageError;
use crate::image::tool;

/// Compiles the module and says what goes into its image.
pub fn make(job: Job<'_>) -> Result<Content, ImageError> {
    let (program, go) = compile(job)?;
    elf::check(&program, job.platform, job.base.is_some())?;
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut content = of_program(&name, &program);
    content.outside = outside(job, &go);
    content.packages = packages(job, &go);
    content.tools = vec![go];
    Ok(content)
}

/// Compiles the module. Returns the program, and the compiler.
pub fn compile(job: Job<'_>) -> Result<(PathBuf, PathBuf), ImageError> {
    let go = tool::find(job.environment, "go").ok_or_else(|| ImageError::Missing {
        what: "go, which builds modules in Go, was not found".to_owned(),
        hint: "Install it; on Debian and Ubuntu: `apt-get install golang-go`.".to_owned(),
    })?;
    let name = job.module.directory.file_name().unwrap_or_default();
    let program = job.own_workspace("go")?.join(job.module.build.program.as_deref().unwrap_or(&name.to_string_lossy()));
    let mut command = command(job, &go);
    command.args(["build", "-trimpath", "-buildvcs=false"]);
    if !job.is_debug() {
        command.arg("-ldflags=-s -w");
    }
    let mut said = Vec::new();
    let ended = tool::run(command.arg("-o").arg(&program).arg("."), |text| {
        job.line.update(text);
        said.push(text.to_owned());
    })?;
    if ended.success {
        return Ok((program, go));
    }
    job.line.say(&said.join("\n"));
    Err(ImageError::Failed { tool: "go build", reason: None })
}

/// The go command for the platform, in the module's directory.
fn command(job: Job<'_>, go: &Path) -> Command {
    let mut command = Command::new(go);
    command.current_dir(&job.module.directory).env("CGO_ENABLED", "0");
    command.env("GOOS", &job.platform.os).env("GOARCH", &job.platform.architecture);
    if let Some(variant) = job.platform.variant.as_deref().filter(|_| job.platform.architecture == "arm") {
        command.env("GOARM", variant.trim_start_matches('v'));
    }
    command
}

/// Sources outside the module's directory that are no downloaded packages.
fn outside(job: Job<'_>, go: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut command = command(job, go);
    let format = "{{if and .Module (not .Standard)}}{{if not .Module.Version}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}\n{{end}}{{end}}{{end}}";
    // What cannot be listed was built all the same.
    let _ = tool::run(command.args(["list", "-deps", "-f", format, "."]), |text| {
        let path = PathBuf::from(text);
        if path.is_absolute() && !path.starts_with(&job.module.directory) {
            files.push(path);
        }
    });
    files
}

fn packages(job: Job<'_>, go: &Path) -> Vec<Package> {
    let mut packages = Vec::new();
    let format = "{{with .Module}}{{if .Version}}{{.Path}} {{.Version}}{{end}}{{end}}";
    let _ = tool::run(command(job, go).args(["list", "-deps", "-f", format, "."]), |text| {
        if let Some((name, version)) = text.split_once(' ') {
            packages.push(Package {
                ecosystem: "golang".to_owned(),
                name: name.to_owned(),
                version: version.to_owned(),
                license: None,
            });
        }
    });
    packages.sort();
    packages.dedup();
    packages
}
