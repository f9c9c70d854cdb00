//! `.dockerignore`: which files of a context stay at home.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::image::error::ImageError;

/// The rules of a file, of which the last that fits counts.
#[derive(Debug, Default)]
pub struct Ignored {
    rules: Vec<(Regex, bool)>,
}

impl Ignored {
    /// Reads the rules for a context: those of `Dockerfile.dockerignore` beside the Dockerfile, else those of
    /// `.dockerignore` in the context, else none.
    pub fn of_context(context: &Path, dockerfile: Option<&Path>) -> Result<Self, ImageError> {
        let beside = dockerfile.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let file = beside.filter(|path| path.is_file()).unwrap_or_else(|| context.join(".dockerignore"));
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Self::read(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(ImageError::io(file)(error)),
        }
    }

    /// Reads rules. One that means nothing is passed over, as engines do.
    pub fn read(text: &str) -> Self {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let rules = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(|line| {
            let (pattern, ignores) = match line.strip_prefix('!') {
                Some(pattern) => (pattern.trim(), false),
                None => (line, true),
            };
            let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            (!parts.is_empty()).then(|| Regex::new(&expression(&parts.join("/"))).ok().map(|rule| (rule, ignores)))?
        });
        Self { rules: rules.collect() }
    }

    /// Whether a file or directory, by its path from the context, stays at home. What lies in a directory goes the way of
    /// the directory, unless a later rule says otherwise.
    pub fn has(&self, path: &str) -> bool {
        let fits =
            |rule: &Regex| path.match_indices('/').any(|(end, _)| rule.is_match(&path[..end])) || rule.is_match(path);
        self.rules.iter().rev().find(|(rule, _)| fits(rule)).is_some_and(|(_, ignores)| *ignores)
    }

    /// Whether a directory need not be looked into: nothing in it can be taken back in.
    pub fn has_all_of(&self, directory: &str) -> bool {
        self.has(directory) && self.rules.iter().all(|(_, ignores)| *ignores)
    }
}

/// The rule's pattern as a regular expression for whole paths.
fn expression(pattern: &str) -> String {
    let mut text = "^".to_owned();
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        match character {
            '*' if rest.starts_with("**/") => {
                text.push_str("(.*/)?");
                taken = 3;
            }
            '*' if rest.starts_with("**") => {
                text.push_str(".*");
                taken = 2;
            }
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' if rest[1..].contains(']') => {
                let end = rest[1..].find(']').map_or(1, |end| end + 1);
                text.push_str(&rest[..=end]);
                taken = end + 1;
            }
            '\\' if rest.len() > 1 => {
                let next: String = rest.chars().skip(1).take(1).collect();
                text.push_str(&regex::escape(&next));
                taken += next.len();
            }
            other => text.push_str(&regex::escape(&other.to_string())),
        }
        rest = &rest[taken..];
    }
    text.push('$');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_rule_that_fits_counts() {
        let cases = [
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "a.md", true),
            ("*.md", "docs/a.md", false),
            ("**/*.md", "docs/deep/a.md", true),
            ("**/*.md", "a.md", true),
            ("bin", "bin/x/y", true),
            ("/bin/", "bin/x", true),
            ("bin\n!bin/keep", "bin/keep", false),
            ("bin\n!bin/keep", "bin/other", true),
            ("a?c", "abc", true),
            ("[ab]c", "ac", true),
            ("# x\n\n", "# x", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            ("./a", "a", true),
            ("*", "a/b", true),
            ("**", "a/b", true),
        ];
        for (rules, path, ignored) in cases {
            assert_eq!(Ignored::read(rules).has(path), ignored, "{rules:?} {path}");
        }
        assert!(Ignored::read("bin").has_all_of("bin"));
        assert!(!Ignored::read("bin\n!bin/x").has_all_of("bin"));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_file_is_read(text in "[\\[\\]*?!/.ab\\\\é\n]{0,24}", path in "[ab/.é]{0,8}") {
            let _ = Ignored::read(&text).has(&path);
        }
    }
}
