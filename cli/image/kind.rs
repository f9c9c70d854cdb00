//! How a module is built: told by its `module.json`, or by the files that it has.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::image::error::ImageError;

/// How the names of sources end.
const SOURCES: [&str; 12] = ["rs", "py", "js", "mjs", "cjs", "ts", "c", "h", "cc", "cpp", "hpp", "go"];

/// What a module is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// cargo.
    Rust,
    /// A C compiler, with make or `CMake` where there are files for them.
    C,
    /// The go command.
    Go,
    /// Python and pip.
    Python,
    /// Node and npm.
    Node,
}

/// The languages of `module.json` by the names that are in use.
const LANGUAGES: [(&str, ModuleKind); 10] = [
    ("rust", ModuleKind::Rust),
    ("c", ModuleKind::C),
    ("cpp", ModuleKind::C),
    ("go", ModuleKind::Go),
    ("golang", ModuleKind::Go),
    ("python", ModuleKind::Python),
    ("javascript", ModuleKind::Node),
    ("typescript", ModuleKind::Node),
    ("node", ModuleKind::Node),
    ("nodejs", ModuleKind::Node),
];
/// The files that tell, where `module.json` does not.
const FILES: [(&[&str], ModuleKind); 7] = [
    (&["Cargo.toml"], ModuleKind::Rust),
    (&["go.mod"], ModuleKind::Go),
    (&["package.json"], ModuleKind::Node),
    (&["requirements.txt", "main.py"], ModuleKind::Python),
    (&["CMakeLists.txt"], ModuleKind::C),
    (&["Makefile"], ModuleKind::C),
    (&["main.c"], ModuleKind::C),
];

impl ModuleKind {
    /// Tells the kind of the module in a directory.
    pub fn detect(directory: &Path) -> Result<Self, ImageError> {
        let language = declared_language(directory);
        let by_language =
            language.as_ref().and_then(|name| LANGUAGES.iter().find(|(known, _)| known == name)).map(|(_, kind)| *kind);
        let has = |names: &[&str]| names.iter().all(|name| directory.join(name).is_file());
        let by_files = || FILES.iter().find(|(names, _)| has(names)).map(|(_, kind)| *kind);
        by_language.or_else(by_files).ok_or_else(|| match language {
            Some(other) => ImageError::Unbuildable {
                reason: format!("a module in {other} cannot be built here without its Dockerfile"),
                hint:
                    "Modules in Rust, C, Go, Python and Node can; others with `edgectl build --load` and a container \
                       engine."
                        .to_owned(),
            },
            None => ImageError::Unbuildable {
                reason: format!("{} does not show what it is built with", directory.display()),
                hint: "Set `\"language\"` in its module.json to `rust`, `c`, `go`, `python` or `node`.".to_owned(),
            },
        })
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
            | "CMakeLists.txt"
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
