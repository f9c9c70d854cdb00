//! Replaces variables in the text of a template or a `module.json`, before it is read as JSON or YAML.
//!
//! `$NAME` and `${NAME}` are replaced where the variable is set and left alone where it is not; nothing is escaped,
//! so a placeholder may stand for a number, or for several members.

use std::collections::BTreeMap;

use super::node::Span;
use super::source_map::SourceMap;

/// Names that are a part of manifests and no variables, unless compatibility is asked for.
pub const RESERVED: &[&str] = &["edgeAgent", "edgeHub", "upstream", "schema"];

/// A text whose variables were replaced.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The result.
    pub text: String,
    /// The way back.
    pub map: SourceMap,
    /// Reserved names that are set in the environment and were met and left alone.
    pub reserved: Vec<(String, Span)>,
}

/// Replaces the variables of a text. With `replace_reserved`, those whose names are parts of a manifest too.
pub fn expand(source: &str, variables: &BTreeMap<String, String>, replace_reserved: bool) -> Expanded {
    let mut result =
        Expanded { text: String::with_capacity(source.len()), map: SourceMap::default(), reserved: Vec::new() };
    let mut copied = 0;
    let mut at = 0;
    while let Some(dollar) = source[at..].find('$').map(|found| at + found) {
        let Some((name, length)) = reference(&source[dollar..]) else {
            at = dollar + 1;
            continue;
        };
        let end = dollar + length;
        at = end;
        let Some(value) = variables.get(name) else { continue };
        if !replace_reserved && RESERVED.contains(&name) && length == name.len() + 1 {
            result.reserved.push((name.to_owned(), Span::new(dollar, end)));
            continue;
        }
        result.text.push_str(&source[copied..dollar]);
        let start = result.text.len();
        result.text.push_str(value);
        result.map.push(Span::new(start, result.text.len()), Span::new(dollar, end));
        copied = end;
    }
    result.text.push_str(&source[copied..]);
    result
}

/// The name a text that starts with `$` refers to, and the length of the reference.
fn reference(text: &str) -> Option<(&str, usize)> {
    let rest = &text[1..];
    if let Some(body) = rest.strip_prefix('{') {
        let end = body.find('}')?;
        return Some((&body[..end], end + 3));
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    (end > 0).then(|| (&rest[..end], end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_replaced_only_on_request() {
        let variables = BTreeMap::from([("edgeHub".to_owned(), "BOOM".to_owned())]);
        assert_eq!(expand("\"$edgeHub\" ${edgeHub}", &variables, false).text, "\"$edgeHub\" BOOM");
        assert_eq!(expand("\"$edgeHub\"", &variables, true).text, "\"BOOM\"");
    }

    #[test]
    fn places_lead_back_to_the_source() {
        let variables = BTreeMap::from([("A".to_owned(), "longer".to_owned())]);
        let source = "x $A y ${A} z";
        let expanded = expand(source, &variables, false);
        assert_eq!(expanded.text, "x longer y longer z");
        let place = |piece: &str| {
            let start = expanded.text.rfind(piece).unwrap();
            &source[expanded.map.to_source(Span::new(start, start + piece.len())).range()]
        };
        assert_eq!((place("z"), place("y"), place("onge"), place("x")), ("z", "y", "${A}", "x"));
    }
}
