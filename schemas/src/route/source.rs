//! Where messages come from: the pattern of a route, and whether a message matches it.

use crate::route::error::Span;

/// Source of the messages of leaf devices.
pub const DEVICE_MESSAGES: &str = "/messages/";
/// Source of the changes of reported properties.
pub const TWIN_CHANGES: &str = "/twinChangeNotifications/";

/// Source of the messages of a module of this device: `/messages/modules/{module}/`, with an output
/// `/messages/modules/{module}/outputs/{output}/`.
pub fn module_messages(module: &str, output: Option<&str>) -> String {
    match output {
        Some(output) => format!("/messages/modules/{module}/outputs/{output}/"),
        None => format!("/messages/modules/{module}/"),
    }
}

/// The source of a route. Matches every message whose source begins with it, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern {
    prefix: Box<str>,
    is_ascii: bool,
}

/// The source of a message, made ready to be held against many patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSource<'m> {
    path: &'m str,
    is_ascii: bool,
}

impl<'m> MessageSource<'m> {
    /// Reads a source; how many slashes end it does not matter.
    pub fn new(text: &'m str) -> Self {
        let path = text.trim().trim_end_matches('/');
        Self { path, is_ascii: path.is_ascii() }
    }
}

/// A source as it stands in the text of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it matches.
    pub pattern: SourcePattern,
    /// Where it is.
    pub span: Span,
}

impl SourcePattern {
    /// Reads a pattern: stars and then slashes at its end mean nothing.
    pub fn new(text: &str) -> Self {
        let path = text.trim().trim_end_matches('*').trim_end_matches('/');
        Self { prefix: format!("{path}/").into(), is_ascii: path.is_ascii() }
    }

    /// What a message's source must begin with; ends in `/`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether messages of that source are meant.
    pub fn matches(&self, source: MessageSource<'_>) -> bool {
        // Both count as ending in exactly one slash; they are compared without it, so that it must be there.
        let path = &self.prefix[..self.prefix.len() - 1];
        if source.is_ascii && self.is_ascii {
            return source.path.get(..path.len()).is_some_and(|start| start.eq_ignore_ascii_case(path))
                && matches!(source.path.as_bytes().get(path.len()), None | Some(b'/'));
        }
        folded(source.path).strip_prefix(&folded(path)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The module whose messages alone are meant, if there is one.
    pub fn module(&self) -> Option<&str> {
        let mut segments = self.prefix.split('/').skip(1);
        let is_module =
            segments.next()?.eq_ignore_ascii_case("messages") && segments.next()?.eq_ignore_ascii_case("modules");
        segments.next().filter(|module| is_module && !module.is_empty())
    }

    /// The output of [`Self::module`] whose messages alone are meant, if there is one.
    pub fn output(&self) -> Option<&str> {
        self.module()?;
        let mut segments = self.prefix.split('/').skip(4);
        let is_output = segments.next()?.eq_ignore_ascii_case("outputs");
        segments.next().filter(|output| is_output && !output.is_empty() && !output.contains('*'))
    }

    /// Whether any message can have a source that begins like this.
    pub fn can_match(&self) -> bool {
        let segments: Vec<String> =
            self.prefix.trim_matches('/').split('/').map(str::to_ascii_lowercase).filter(|s| !s.is_empty()).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let names_are_plain = |names: &[&str]| names.iter().all(|name| !name.contains('*'));
        match segments.as_slice() {
            [] | ["messages" | "twinchangenotifications"] | ["messages", "modules"] => !self.prefix.starts_with("//"),
            ["messages", "modules", module] | ["messages", "modules", module, "outputs"] => names_are_plain(&[module]),
            ["messages", "modules", module, "outputs", output] => names_are_plain(&[module, output]),
            _ => false,
        }
    }
}

/// The text in one case, one character for one.
fn folded(text: &str) -> String {
    text.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) => single,
                _ => c,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_prefix_in_whole_segments() {
        for (pattern, source, expected) in [
            ("/*", TWIN_CHANGES, true),
            ("/messages", "/messages/modules/a/", true),
            ("/messages/modules/a", "/messages/modules/ab/", false),
            ("/Messages/MODULES/a/*", "/messages/modules/A/outputs/o/", true),
            ("/messages/modules/*/outputs/o", "/messages/modules/a/outputs/o/", false),
            ("/messages/modules/a/outputs/o", "/messages/modules/a/", false),
            ("/messages/modules/ä", "/messages/modules/Ä/", true),
        ] {
            assert_eq!(SourcePattern::new(pattern).matches(MessageSource::new(source)), expected, "{pattern} {source}");
        }
    }

    #[test]
    fn some_patterns_match_nothing() {
        for (pattern, expected) in [
            ("/*", true),
            ("/messages/*", true),
            ("/messages/modules/a/outputs/*", true),
            ("/twinChangeNotifications", true),
            ("/messages/modules/*/outputs/o", false),
            ("/messages/modules/a/inputs/i", false),
            ("/messages/events", false),
            ("/*/messages/*", false),
        ] {
            assert_eq!(SourcePattern::new(pattern).can_match(), expected, "{pattern}");
        }
    }
}
