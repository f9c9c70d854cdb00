//! Building a module in C with make: its Makefile puts the program `module` into the directory that it is told as
//! `BUILD`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::image::build::Built;
use crate::image::error::ImageError;
use crate::image::program;
use crate::image::tool;
use crate::output::progress::Line;

/// How a compiler says that a header is not there: before its name, and after it.
const NO_HEADER: (&str, &str) = ("fatal error: ", ".h: No such file or directory");
/// How a linker says that a library is not there.
const NO_LIBRARY: &str = "cannot find -l";

/// Builds the module in `directory`, with `workspace` for everything that is made on the way.
pub fn build(
    directory: &Path,
    workspace: &Path,
    environment: &BTreeMap<String, String>,
    line: &Line<'_>,
) -> Result<Built, ImageError> {
    let make = find(environment, "make", "make")?;
    find(environment, "cc", "gcc libc6-dev")?;
    let place = workspace.join("make");
    let mut target = std::ffi::OsString::from("BUILD=");
    target.push(&place);
    let command = |question: &[&str]| {
        let mut command = Command::new(&make);
        command.args(question).arg("--no-print-directory").arg(&target).current_dir(directory);
        command
    };
    // Asked whether there is anything to do, make says so by its status.
    let executable = place.join("module");
    let cached = executable.is_file() && tool::run(&mut command(&["--question"]), |_| {})?.success;
    if !cached {
        let mut missing = None;
        let ended = tool::run(&mut command(&[]), |text| {
            missing = missing.take().or_else(|| missing_part(text));
            if text.contains("error:") || text.contains("warning:") || text.starts_with(' ') {
                line.say(text);
            } else {
                line.update(text);
            }
        })?;
        match missing {
            _ if ended.success => {}
            Some(what) => {
                return Err(ImageError::Missing {
                    what: format!("the compiler found no {what}"),
                    hint:
                        "Install the library's package for development; the module's Dockerfiles name those it needs."
                            .to_owned(),
                });
            }
            None => return Err(ImageError::Failed { tool: "make", reason: ended.last_lines.last().cloned() }),
        }
    }
    if !executable.is_file() {
        return Err(ImageError::Unbuildable {
            reason: format!("{} makes no program `$(BUILD)/module`", directory.join("Makefile").display()),
            hint: "A Makefile of a module puts its program into the directory that it is told as BUILD.".to_owned(),
        });
    }
    program::built(&executable, cached, directory)
}

fn find(environment: &BTreeMap<String, String>, name: &str, packages: &str) -> Result<std::path::PathBuf, ImageError> {
    tool::find(environment, name).ok_or_else(|| ImageError::Missing {
        what: format!("{name}, which modules in C need, was not found"),
        hint: format!("Install it; on Debian and Ubuntu: `apt-get install {packages}`."),
    })
}

/// The header or library that a line of the compiler or linker misses.
fn missing_part(text: &str) -> Option<String> {
    if let Some((before, _)) = text.split_once(NO_HEADER.1) {
        return before.split_once(NO_HEADER.0).map(|(_, header)| format!("{header}.h"));
    }
    let (_, library) = text.split_once(NO_LIBRARY)?;
    Some(format!("library {}", library.split([':', ' ']).next().unwrap_or(library)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let header = "src/edge.c:3:10: fatal error: mosquitto.h: No such file or directory";
        assert_eq!(missing_part(header).as_deref(), Some("mosquitto.h"));
        let library = "/usr/bin/ld: cannot find -lcurl: No such file or directory";
        assert_eq!(missing_part(library).as_deref(), Some("library curl"));
        assert_eq!(missing_part("src/edge.c:3:1: error: unknown type name"), None);
    }
}
