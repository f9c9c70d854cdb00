//! Adding to a deployment template that people have written: the text stays as it is, comments and all, but for what
//! is put in.

use std::path::{Path, PathBuf};

use jsonc_parser::ast::{Object, Value as Node};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::Serialize as _;
use serde_json::{Value, json};

use crate::scaffold::error::ScaffoldError;

const AGENT: &str = "$edgeAgent";
const HUB: &str = "$edgeHub";
const DESIRED: &str = "properties.desired";

/// The text of a deployment template.
#[derive(Debug)]
pub struct Deployment {
    path: PathBuf,
    text: String,
}

impl Deployment {
    /// A text that was read from `path`.
    pub fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text }
    }

    /// The text as it is now.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a module of an image, which may be a placeholder such as `${MODULES.NAME}`.
    pub fn with_module(self, name: &str, image: &str, create_options: Value) -> Result<Self, ScaffoldError> {
        let entry = json!({
            "version": "1.0",
            "type": "docker",
            "status": "running",
            "restartPolicy": "always",
            "settings": { "image": image, "createOptions": create_options },
        });
        self.with_member(AGENT, "modules", "module", name, &entry)
    }

    /// Adds a route.
    pub fn with_route(self, name: &str, route: &str) -> Result<Self, ScaffoldError> {
        self.with_member(HUB, "routes", "route", name, &json!(route))
    }

    /// Adds the member `name` to the object `section` in the desired properties of a system module, and that object as
    /// well if it is not there.
    fn with_member(
        self,
        system_module: &str,
        section: &str,
        what: &'static str,
        name: &str,
        value: &Value,
    ) -> Result<Self, ScaffoldError> {
        let masked = self.masked()?;
        let root = self.parse(&masked)?;
        let no_place = |place: &str| ScaffoldError::NoPlace { path: self.path.clone(), place: place.to_owned() };
        let document = root.as_object().ok_or_else(|| no_place("at its top"))?;
        let content = document
            .get_object("modulesContent")
            .or_else(|| document.get_object("content")?.get_object("modulesContent"))
            .ok_or_else(|| no_place("modulesContent"))?;
        let module =
            content.get_object(system_module).ok_or_else(|| no_place(&format!("modulesContent.{system_module}")))?;

        let exists = || ScaffoldError::Declared { path: self.path.clone(), what, name: name.to_owned() };
        let dotted = format!("{DESIRED}.{section}");
        let in_layer = module.get(&format!("{dotted}.{name}")).is_some();
        let (object, member, value) = match (module.get_object(DESIRED), module.get_object(&dotted)) {
            (Some(desired), _) => match desired.get_object(section) {
                Some(object) if object.get(name).is_some() => return Err(exists()),
                Some(object) => (object, name.to_owned(), value.clone()),
                None if desired.get(section).is_some() => {
                    return Err(no_place(&format!("modulesContent.{system_module}.{DESIRED}.{section}")));
                }
                None => (desired, section.to_owned(), json!({ name: value })),
            },
            (None, Some(object)) if object.get(name).is_some() => return Err(exists()),
            (None, Some(object)) => (object, name.to_owned(), value.clone()),
            // A layered deployment names each member by its whole path.
            (None, None) if in_layer => return Err(exists()),
            (None, None) => (module, format!("{dotted}.{name}"), value.clone()),
        };
        let text = insert(&self.text, object, &member, &value);
        Ok(Self { path: self.path, text })
    }

    fn parse<'a>(&self, text: &'a str) -> Result<Node<'a>, ScaffoldError> {
        let wrong = |line: usize, column: usize, reason: String| ScaffoldError::Syntax {
            path: self.path.clone(),
            line,
            column,
            reason,
        };
        let options = ParseOptions {
            allow_missing_commas: false,
            allow_loose_object_property_names: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            ..ParseOptions::default()
        };
        let parsed = parse_to_ast(text, &CollectOptions::default(), &options)
            .map_err(|error| wrong(error.line_display(), error.column_display(), error.kind().to_string()))?;
        parsed.value.ok_or_else(|| wrong(1, 1, "it is empty".to_owned()))
    }

    /// The text as JSON of the same length: a placeholder that stands for a whole value, such as `"x": ${FLAG}`, is
    /// hidden behind a number.
    fn masked(&self) -> Result<String, ScaffoldError> {
        match self.parse(&self.text) {
            Ok(_) => Ok(self.text.clone()),
            Err(error) => {
                let masked = mask_placeholders(&self.text);
                self.parse(&masked).map_err(|_| error)?;
                Ok(masked)
            }
        }
    }
}

/// Puts digits in the place of placeholders outside of strings.
fn mask_placeholders(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => {
                in_string = !in_string;
                1
            }
            '\\' if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '$' if !in_string => {
                let length = placeholder_length(rest);
                masked.extend(std::iter::repeat_n('1', length));
                rest = &rest[length..];
                continue;
            }
            other => other.len_utf8(),
        };
        masked.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    masked
}

/// How many bytes the placeholder at the start of a text has: `${NAME}` or `$NAME`.
fn placeholder_length(text: &str) -> usize {
    if text.starts_with("${")
        && let Some(end) = text.find(['}', '\n'])
    {
        return end + usize::from(text[end..].starts_with('}'));
    }
    1 + text[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - 1)
}

/// Puts a member behind the last one of an object, in the manner of the text around it.
fn insert(text: &str, object: &Object<'_>, name: &str, value: &Value) -> String {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let outer = indentation(text, object.start());
    let Some(last) = object.properties.last() else {
        let unit = unit_of(text);
        let inner = format!("{outer}{unit}");
        let member = member(name, value, Some((&inner, &unit)), line_end);
        let between = &text[object.start() + 1..object.end() - 1];
        let kept = if between.trim().is_empty() { "" } else { between.trim_end() };
        let (before, after) = (&text[..=object.start()], &text[object.end() - 1..]);
        return format!("{before}{kept}{line_end}{inner}{member}{line_end}{outer}{after}");
    };
    let (comma_end, line_end_place) = after_member(text, last.end(), object.end() - 1);
    let stands_alone = text[..last.start()].rsplit('\n').next().is_some_and(|line| line.trim().is_empty())
        && text[..last.start()].contains('\n');
    let (separator, member) = if stands_alone {
        let inner = indentation(text, last.start());
        let unit =
            inner.strip_prefix(outer).filter(|unit| !unit.is_empty()).map_or_else(|| unit_of(text), str::to_owned);
        (format!("{line_end}{inner}"), member(name, value, Some((inner, &unit)), line_end))
    } else {
        (" ".to_owned(), member(name, value, None, line_end))
    };
    // Where the last member had a comma behind it, so has the new one.
    let (missing, trailing) = if comma_end.is_some() { ("", ",") } else { (",", "") };
    let place = comma_end.unwrap_or(last.end()).max(if stands_alone { line_end_place } else { 0 });
    format!(
        "{}{missing}{}{separator}{member}{trailing}{}",
        &text[..last.end()],
        &text[last.end()..place],
        &text[place..]
    )
}

/// What follows a member before `end`: where a comma ends, and where the last comment on the same line does.
fn after_member(text: &str, start: usize, end: usize) -> (Option<usize>, usize) {
    let mut comma_end = None;
    let mut comment_end = start;
    let mut line_is_over = false;
    let mut position = start;
    while position < end {
        let rest = &text[position..end];
        let comment = if rest.starts_with("//") {
            Some(rest.find(['\r', '\n']).unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            Some(rest.find("*/").map_or(rest.len(), |found| found + 2))
        } else {
            None
        };
        if let Some(length) = comment {
            position += length;
            if !line_is_over {
                comment_end = position;
            }
            continue;
        }
        let c = rest.chars().next().unwrap_or(' ');
        position += c.len_utf8();
        line_is_over |= c == '\n' || c == '\r';
        if c == ',' {
            comma_end = Some(position);
        }
    }
    (comma_end, comment_end)
}

/// A member as text: over several lines with an indentation and its unit, or in one line.
fn member(name: &str, value: &Value, lines: Option<(&str, &str)>, line_end: &str) -> String {
    let key = Value::from(name).to_string();
    let Some((indentation, unit)) = lines else { return format!("{key}: {value}") };
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(unit.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a value of ours to memory cannot fail.
    let _ = value.serialize(&mut serializer);
    let text = String::from_utf8_lossy(&bytes).replace('\n', &format!("{line_end}{indentation}"));
    format!("{key}: {text}")
}

/// The blanks at the start of the line that `position` is in.
fn indentation(text: &str, position: usize) -> &str {
    let start = text[..position].rfind('\n').map_or(0, |found| found + 1);
    let line = &text[start..];
    &line[..line.find(|c: char| c != ' ' && c != '\t').unwrap_or(0)]
}

/// One step of indentation: that of the first line that has one.
fn unit_of(text: &str) -> String {
    text.lines()
        .map(|line| &line[..line.len() - line.trim_start().len()])
        .find(|blanks| !blanks.is_empty())
        .unwrap_or("  ")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(inside: &str) -> String {
        format!("{{\"modulesContent\": {{\"$edgeHub\": {{\"properties.desired\": {{\n  \"routes\": {inside}\n}}}}}}}}")
    }

    fn with_route(text: &str) -> Result<String, ScaffoldError> {
        Ok(Deployment::new(Path::new("t.json"), text.to_owned()).with_route("new", "R")?.text)
    }

    #[test]
    fn a_member_is_added_in_the_manner_of_the_others() {
        for (before, after) in [
            ("{}", "{\n    \"new\": \"R\"\n  }"),
            ("{ }", "{\n    \"new\": \"R\"\n  }"),
            ("{ // none\n  }", "{ // none\n    \"new\": \"R\"\n  }"),
            ("{ \"a\": \"b\" }", "{ \"a\": \"b\", \"new\": \"R\" }"),
            ("{ \"a\": \"b\", }", "{ \"a\": \"b\", \"new\": \"R\", }"),
            ("{ \"a\": \"b\", // c\n}", "{ \"a\": \"b\", \"new\": \"R\", // c\n}"),
            ("{ \"a\": \"b\" /* c */ }", "{ \"a\": \"b\", \"new\": \"R\" /* c */ }"),
            ("{\n\t\"a\": \"b\"\n  }", "{\n\t\"a\": \"b\",\n\t\"new\": \"R\"\n  }"),
            ("{\n    \"a\": \"b\" // why, \"oh\"\n  }", "{\n    \"a\": \"b\", // why, \"oh\"\n    \"new\": \"R\"\n  }"),
            ("{\n    \"a\": \"b\", /* x */\n  }", "{\n    \"a\": \"b\", /* x */\n    \"new\": \"R\",\n  }"),
            ("{\n    \"a\": \"b\"\n    // c, d\n  }", "{\n    \"a\": \"b\",\n    \"new\": \"R\"\n    // c, d\n  }"),
            ("{\r\n    \"a\": \"b\"\r\n  }", "{\r\n    \"a\": \"b\",\r\n    \"new\": \"R\"\r\n  }"),
        ] {
            assert_eq!(with_route(&routes(before)).unwrap(), routes(after), "{before}");
        }
    }

    #[test]
    fn values_are_indented_like_their_surroundings() {
        let text = "{\n  \"modulesContent\": { \"$edgeAgent\": { \"properties.desired\": {\n    \"modules\": {\n      \
                    \"a\": 1\n    }\n  } } }\n}";
        let edited =
            Deployment::new(Path::new("t"), text.to_owned()).with_module("m", "${MODULES.m}", json!({})).unwrap();
        assert!(edited.text().contains(
            "      \"a\": 1,\n      \"m\": {\n        \"version\": \"1.0\",\n        \"type\": \"docker\",\n"
        ));
        assert!(edited.text().contains("          \"image\": \"${MODULES.m}\",\n          \"createOptions\": {}\n"));
    }

    #[test]
    fn what_is_there_is_not_added_again() {
        let text = routes("{ \"new\": \"x\" }");
        assert!(matches!(with_route(&text), Err(ScaffoldError::Declared { .. })));
        let layer = r#"{"content": {"modulesContent": {"$edgeHub": {"properties.desired.routes.new": "x"}}}}"#;
        assert!(matches!(with_route(layer), Err(ScaffoldError::Declared { .. })));
    }

    #[test]
    fn a_layer_gets_whole_paths_and_a_missing_section_is_made() {
        let layer = r#"{"content": {"modulesContent": {"$edgeHub": {"properties.desired.routes.a": "x"}}}}"#;
        assert!(with_route(layer).unwrap().contains(r#""x", "properties.desired.routes.new": "R"}"#));
        let bare = r#"{"modulesContent": {"$edgeHub": {"properties.desired": {"schemaVersion": "1.1"}}}}"#;
        assert!(with_route(bare).unwrap().contains(r#""1.1", "routes": {"new":"R"}}"#));
    }

    #[test]
    fn placeholders_for_whole_values_are_no_syntax_error() {
        let text = routes("{ \"a\": ${WHAT}, \"b\": $OTHER, \"c\": \"${IN \\\" STRING}\" }");
        assert!(with_route(&text).unwrap().contains("\"c\": \"${IN \\\" STRING}\", \"new\": \"R\""));
    }

    #[test]
    fn what_does_not_parse_is_left_alone() {
        for text in ["", "{", "{\"a\" 1}", "[]", "{\"modulesContent\": {}}", "nonsense", "${A"] {
            assert!(with_route(text).is_err(), "{text}");
        }
    }
}
