//! How a module is built: told by its `module.json`, or by the files that it has.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::image::error::ImageError;

/// How the names of sources end.
const SOURCES: [&str; 9] = ["rs", "py", "js", "mjs", "cjs", "ts", "c", "h", "go"];

/// How a module is built as a process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// With cargo.
    Rust,
    /// With a virtual environment of Python.
    Python,
    /// With npm, for Node.
    Node,
    /// With make, in C.
    Make,
    /// With the tools of Go.
    Go,
}

impl ModuleKind {
    /// Tells the kind of the module in a directory.
    pub fn detect(directory: &Path) -> Result<Self, ImageError> {
        let language = declared_language(directory);
        let has = |name: &str| directory.join(name).is_file();
        match language.as_deref() {
            Some("rust") => Ok(Self::Rust),
            Some("python") => Ok(Self::Python),
            Some("javascript" | "typescript" | "node" | "nodejs") => Ok(Self::Node),
            Some("c") if has("Makefile") => Ok(Self::Make),
            Some("go") => Ok(Self::Go),
            _ if has("Cargo.toml") => Ok(Self::Rust),
            _ if has("requirements.txt") && has("main.py") => Ok(Self::Python),
            _ if has("package.json") => Ok(Self::Node),
            _ if has("go.mod") => Ok(Self::Go),
            Some(other) => Err(ImageError::Unbuildable {
                reason: format!("a module in {other} cannot be built as a process"),
                hint: "Modules can with Cargo.toml, with requirements.txt and main.py, with package.json, with go.mod, or in C \
                       with a Makefile."
                    .to_owned(),
            }),
            None => Err(ImageError::Unbuildable {
                reason: format!("{} does not show what it is built with", directory.display()),
                hint: "Set `\"language\"` in its module.json to `rust`, `python`, `javascript`, `typescript`, `c` or `go`.".to_owned(),
            }),
        }
    }
}

/// Whether a file is, by its name, one that modules are built from wherever it lies: in a library beside them, or in the
/// workspace around them.
pub fn is_source(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let is_named = matches!(
        &*name,
        "Cargo.toml"
            | "Cargo.lock"
            | "pyproject.toml"
            | "setup.cfg"
            | "package.json"
            | "package-lock.json"
            | "tsconfig.json"
            | "Makefile"
            | "go.mod"
            | "go.sum"
    );
    let is_requirements = name.starts_with("requirements") && name.ends_with(".txt");
    is_named || is_requirements || path.extension().is_some_and(|end| SOURCES.iter().any(|source| end == *source))
}

/// The language in `module.json`. The file may lack it, and hold placeholders that make it no JSON yet: then the other
/// files tell.
fn declared_language(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join("module.json")).ok()?;
    let document: Value = serde_json::from_str(&text).ok()?;
    document.get("language")?.as_str().map(str::to_lowercase)
}
