//! Names that hold wherever they will stand: in a manifest, in a directory, in an image, in a package.

use std::fmt;

use crate::scaffold::error::ScaffoldError;

/// Longest name: with a suffix it still fits an identifier of 128 characters.
const MAX_LENGTH: usize = 64;
/// A route `NAMEToIoTHub` and the directory bear the name as it is; these would be taken for the runtime's own.
const RESERVED_MODULES: [&str; 2] = ["edgeagent", "edgehub"];
/// Names that cargo keeps for itself as binaries, beside the keywords of Rust.
const RESERVED_PACKAGES: [&str; 6] = ["build", "deps", "examples", "incremental", "proc-macro", "test"];
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The name of a module: its key in the manifest and its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleName(String);

impl ModuleName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, ScaffoldError> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let reason = if let Some(reason) = wrong_anywhere(name, is_legal) {
            reason
        } else if !is_image_component(&name.to_ascii_lowercase()) {
            "images take `-` and `_` only between letters or digits, and at most two `_` in a row"
        } else if RESERVED_MODULES.contains(&name.to_ascii_lowercase().as_str()) {
            "the runtime's own module has that name"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(ScaffoldError::Name { what: "module", name: name.to_owned(), reason })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The repository of its image: images have no capitals.
    pub fn repository(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The name of its package in Rust: the name in lower case, with `module-` before it where it could not stand
    /// alone. `dependencies` are packages that it must not be confused with.
    pub fn package(&self, dependencies: &[&str]) -> String {
        let name = self.repository();
        let stands_alone = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && !KEYWORDS.contains(&name.as_str())
            && !RESERVED_PACKAGES.contains(&name.as_str())
            && !dependencies.iter().any(|dependency| dependency.replace('_', "-") == name.replace('_', "-"));
        if stands_alone { name } else { format!("module-{name}") }
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a solution: its directory, and its device's identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolutionName(String);

impl SolutionName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, ScaffoldError> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let reason = if name.contains(['/', '\\']) {
            "it is a name and no path; `-C DIR` says where the solution goes"
        } else if name.chars().all(|c| is_legal(c) && c == '.') {
            "it needs a letter or a digit"
        } else if let Some(reason) = wrong_anywhere(name, is_legal) {
            reason
        } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            "it starts with a letter or a digit"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(ScaffoldError::Name { what: "solution", name: name.to_owned(), reason })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks the name of a template of the user: a directory, and a word on the command line.
pub fn check_template(name: &str) -> Result<(), ScaffoldError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let reason = if let Some(reason) = wrong_anywhere(name, is_legal) {
        reason
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "it starts with a letter or a digit"
    } else {
        return Ok(());
    };
    Err(ScaffoldError::Name { what: "template", name: name.to_owned(), reason })
}

fn wrong_anywhere(name: &str, is_legal: fn(char) -> bool) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > MAX_LENGTH {
        Some("it is longer than 64 characters")
    } else if !name.chars().all(is_legal) {
        Some("it may have letters from a to z, digits, `-` and `_` only")
    } else {
        None
    }
}

/// Whether a text is one component of a repository: letters and digits, with `_`, `__` or hyphens between them.
fn is_image_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text
            .split(alphanumeric)
            .all(|separator| matches!(separator, "" | "_" | "__") || separator.chars().all(|c| c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_fit_manifests_and_images() {
        for name in ["filter", "Filter2", "a-b", "a_b", "a__b", "a--b", "0"] {
            assert!(ModuleName::new(name).is_ok(), "{name}");
        }
        let long = "a".repeat(65);
        for name in
            ["", "a b", "a.b", "a/b", "é", "-a", "a-", "_a", "a_", "a___b", "a-_b", "edgeHub", "$edgeHub", &long]
        {
            assert!(ModuleName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn packages_are_never_confused_with_others() {
        let package = |name: &str| ModuleName::new(name).unwrap().package(&["log", "env_logger"]);
        assert_eq!(package("Filter"), "filter");
        assert_eq!(package("log"), "module-log");
        assert_eq!(package("env-logger"), "module-env-logger");
        assert_eq!(package("match"), "module-match");
        assert_eq!(package("test"), "module-test");
        assert_eq!(package("2nd"), "module-2nd");
    }

    #[test]
    fn solution_names_are_one_directory() {
        for name in ["my-solution", "a.b", "0"] {
            assert!(SolutionName::new(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".a", "-a", "a/b", "a b", "ü"] {
            assert!(SolutionName::new(name).is_err(), "{name}");
        }
    }
}
