//! A document that was read: its text, its tree, and the way from a place in the tree to a place in the file.

use super::node::{Kind, Node, Span};
use super::source_map::SourceMap;
use super::{json, nested, yaml};

/// Largest document, in bytes.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Deepest nesting of a document.
pub const MAX_DEPTH: usize = 200;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON; comments and trailing commas are read too, and remembered.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The format a file's name says, if it says one.
    pub fn of_name(name: &str) -> Option<Self> {
        let extension = name.rsplit_once('.')?.1;
        match extension.to_ascii_lowercase().as_str() {
            "json" | "jsonc" | "json5" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// The format a text looks like.
    pub fn of_text(text: &str) -> Self {
        let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        if start.starts_with(['{', '[', '/', '"']) { Self::Json } else { Self::Yaml }
    }
}

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The place, in the text that was read.
    pub span: Span,
    /// What is wrong there.
    pub message: String,
}

/// A document.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file's name as people know it.
    pub name: String,
    /// The text as it stands in the file.
    pub source: String,
    /// The text that was read, where variables were replaced; none if that is the source.
    expanded: Option<(String, SourceMap)>,
    /// How it is written.
    pub format: Format,
    /// The tree. Places in it are places in the text that was read.
    pub root: Node,
    /// The first comment or trailing comma of a JSON document.
    pub extension: Option<Span>,
}

impl Document {
    /// Reads a text as it stands in the file.
    pub fn parse(name: &str, source: String, format: Format) -> Result<Self, ParseError> {
        let (root, extension) = read(&source, format)?;
        Ok(Self { name: name.to_owned(), source, expanded: None, format, root, extension })
    }

    /// Reads a text in which variables were replaced. Places in an error are places in that text.
    pub fn parse_expanded(
        name: &str,
        source: String,
        expanded: String,
        map: SourceMap,
        format: Format,
    ) -> Result<Self, ParseError> {
        let (root, extension) = read(&expanded, format)?;
        Ok(Self { name: name.to_owned(), source, expanded: Some((expanded, map)), format, root, extension })
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        self.expanded.as_ref().map_or(&self.source, |(text, _)| text)
    }

    /// The place in the file of a place in the text that was read.
    pub fn source_span(&self, span: Span) -> Span {
        let span = self.expanded.as_ref().map_or(span, |(_, map)| map.to_source(span));
        // A place can be shown: it lies in the text, and cuts no character in half.
        let end = self.source.ceil_char_boundary(span.end.min(self.source.len()));
        Span::new(self.source.floor_char_boundary(span.start.min(end)), end)
    }

    /// The place, in the text that was read, of a stretch of a string's value.
    pub fn inside(&self, node: &Node, inner: Span) -> Span {
        match &node.kind {
            Kind::String(value) => self.inside_text(value, node.span, inner),
            _ => node.span,
        }
    }

    /// The same for a text that stands at a place, such as the name of a member.
    pub fn inside_text(&self, value: &str, span: Span, inner: Span) -> Span {
        nested::place(self.text(), span, value, inner)
    }
}

fn read(text: &str, format: Format) -> Result<(Node, Option<Span>), ParseError> {
    if text.len() > MAX_BYTES {
        let message = format!("the document has {} bytes, the most is {MAX_BYTES}", text.len());
        return Err(ParseError { span: Span::default(), message });
    }
    match format {
        Format::Json => {
            // A byte order mark is no part of the document; places count it, as the file does.
            let mark = text.strip_prefix('\u{feff}').map_or(0, |_| '\u{feff}'.len_utf8());
            if mark == 0 {
                return json::parse(text).map(|parsed| (parsed.root, parsed.extension));
            }
            let blanked = format!("   {}", &text[mark..]);
            json::parse(&blanked).map(|parsed| (parsed.root, parsed.extension))
        }
        Format::Yaml => yaml::parse(text).map(|root| (root, None)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str, format: Format) -> Document {
        Document::parse("test", text.to_owned(), format).unwrap()
    }

    #[test]
    fn json_and_yaml_give_the_same_tree() {
        let from_json = parse(r#"{"a": [1, 2.5, true, null, "x"], /* c */ "b": {"c": "d",},}"#, Format::Json);
        let from_yaml = parse("a: [1, 2.5, true, null, x]\nb:\n  c: d\n", Format::Yaml);
        let expected = json!({"a": [1, 2.5, true, null, "x"], "b": {"c": "d"}});
        assert_eq!(from_json.root.to_value(), expected);
        assert_eq!(from_yaml.root.to_value(), expected);
        assert!(from_json.extension.is_some());
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let document = parse("base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3\nsame: *b\n", Format::Yaml);
        let expected = json!({"base": {"x": 1, "y": 2}, "other": {"x": 1, "y": 3}, "same": {"x": 1, "y": 2}});
        assert_eq!(document.root.to_value(), expected);
    }

    #[test]
    fn places_inside_strings_are_followed_through_escapes() {
        let text = r#"{"o": "{\"a\": \u0041é!}"}"#;
        let document = parse(text, Format::Json);
        let node = document.root.get("o").unwrap();
        let value = node.text().unwrap();
        let at = value.find('!').unwrap();
        let span = document.inside(node, Span::new(at, at + 1));
        assert_eq!(&text[span.range()], "!");
        assert_eq!(document.root.path_at(span.start), "o");
    }

    #[test]
    fn places_inside_yaml_blocks_are_followed() {
        let text = "o: |\n  {\"a\":\n    !}\n";
        let document = parse(text, Format::Yaml);
        let node = document.root.get("o").unwrap();
        let at = node.text().unwrap().find('!').unwrap();
        assert_eq!(&text[document.inside(node, Span::new(at, at + 1)).range()], "!");
    }

    #[test]
    fn deep_and_broken_text_is_refused_with_its_place() {
        for (text, start) in
            [("{\"a\": }", 6), ("{\"a\" 1}", 5), ("[1 2]", 3), ("{", 0), ("[01]", 1), ("{\"a\": 'x'}", 6), ("tru", 0)]
        {
            let error = Document::parse("test", text.to_owned(), Format::Json).unwrap_err();
            assert_eq!(error.span.start, start, "{text}: {error}");
        }
        for format in [Format::Json, Format::Yaml] {
            assert!(Document::parse("test", "[".repeat(10_000), format).is_err());
        }
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (before, name) in ('a'..='j').zip('b'..='k') {
            laughs += &format!("{name}: &{name} [*{before},*{before},*{before},*{before},*{before},*{before}]\n");
        }
        assert!(Document::parse("test", laughs, Format::Yaml).is_err());
    }

    proptest! {
        #[test]
        fn json_reads_what_serde_reads(text in "[ \\[\\]{}:,\"a0-9.eE+\\-\\\\untrfls]{0,40}") {
            let ours = json::parse(&text).ok().filter(|parsed| parsed.extension.is_none());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match (ours, theirs) {
                (Some(ours), Ok(theirs)) => prop_assert_eq!(ours.root.to_value(), theirs),
                (None, Ok(theirs)) => prop_assert!(false, "refused {}", theirs),
                // serde_json refuses halves of surrogate pairs and numbers beyond a double.
                _ => {}
            }
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,60}") {
            let _ = json::parse(&text);
            let _ = yaml::parse(&text);
        }
    }
}
