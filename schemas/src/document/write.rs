//! Writes trees as JSON, byte for byte as Python's `json.dumps` does: tools that compare manifests see no difference.
//!
//! Everything beyond ASCII is escaped, numbers take Python's form, of members that repeat the last one counts.

use std::fmt::Write as _;

use super::node::{Kind, Member, Node};

/// Indented by two blanks, without a line end behind the last line.
pub fn pretty(node: &Node) -> String {
    let mut out = String::new();
    write(node, Some(0), &mut out);
    out
}

/// Without any blanks.
pub fn compact(node: &Node) -> String {
    let mut out = String::new();
    write(node, None, &mut out);
    out
}

fn write(node: &Node, level: Option<usize>, out: &mut String) {
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Number(raw) => out.push_str(&number(raw)),
        Kind::String(text) => string(text, out),
        Kind::Array(elements) => collection(elements, ['[', ']'], level, out, |element, level, out| {
            write(element, level, out);
        }),
        Kind::Object(members) => {
            collection(&last_of_each(members), ['{', '}'], level, out, |(key, value), level, out| {
                string(key, out);
                out.push_str(if level.is_some() { ": " } else { ":" });
                write(value, level, out);
            });
        }
    }
}

fn collection<T>(
    items: &[T],
    [open, close]: [char; 2],
    level: Option<usize>,
    out: &mut String,
    write_item: impl Fn(&T, Option<usize>, &mut String),
) {
    let inner = level.map(|level| level + 1);
    let line = |level: Option<usize>, out: &mut String| {
        if let Some(level) = level {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", level));
        }
    };
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(inner, out);
        write_item(item, inner, out);
    }
    if !items.is_empty() {
        line(level, out);
    }
    out.push(close);
}

/// A repeated name keeps its first place and takes its last value.
fn last_of_each(members: &[Member]) -> Vec<(&str, &Node)> {
    let mut kept: Vec<(&str, &Node)> = Vec::with_capacity(members.len());
    let mut places = std::collections::HashMap::with_capacity(members.len());
    for member in members {
        if let Some(&place) = places.get(member.key.as_str()) {
            let entry: &mut (&str, &Node) = &mut kept[place];
            entry.1 = &member.value;
        } else {
            places.insert(member.key.as_str(), kept.len());
            kept.push((&member.key, &member.value));
        }
    }
    kept
}

/// Writes a text with quotes and escapes.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='\u{7f}' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// A number as Python writes it: integers with all their digits, everything else as the shortest text that reads
/// back as the same double.
fn number(raw: &str) -> String {
    if !raw.contains(['.', 'e', 'E']) {
        return if raw == "-0" { "0".to_owned() } else { raw.to_owned() };
    }
    let Ok(value) = raw.parse::<f64>() else { return raw.to_owned() };
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::document::{Document, Format};

    #[test]
    fn text_is_written_as_python_writes_it() {
        let cases = [
            ("{}", "{}"),
            ("[ ]", "[]"),
            (
                "[1.0,1e5,1E-5,123456789012345680.0,1e16,0.0001,-0,-0.0,12345678901234567890]",
                "[1.0,100000.0,1e-05,1.2345678901234568e+17,1e+16,0.0001,0,-0.0,12345678901234567890]",
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            ("\"é\\u001f\\/😀\u{7f}\"", "\"\\u00e9\\u001f/\\ud83d\\ude00\u{7f}\""),
        ];
        for (text, expected) in cases {
            let document = Document::parse("test", text.to_owned(), Format::Json).unwrap();
            assert_eq!(compact(&document.root), expected);
        }
    }

    #[test]
    fn pretty_text_is_indented_by_two() {
        let document = Document::parse("test", r#"{"a":[1,{}],"b":{"c":[]}}"#.to_owned(), Format::Json).unwrap();
        let expected = "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": []\n  }\n}";
        assert_eq!(pretty(&document.root), expected);
    }
}
