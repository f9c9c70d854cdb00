//! Reads YAML into the same tree as JSON: the first document of the stream, with aliases and merge keys resolved.

use std::collections::HashMap;

use compact_str::{CompactString, ToCompactString as _};
use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::document::{MAX_DEPTH, ParseError};
use super::node::{Kind, Member, Node, Span};

/// Most nodes of a document, aliases counted each time they are used: a short text cannot unfold without end.
const MAX_NODES: usize = 1_000_000;

/// Reads a text.
pub fn parse(text: &str) -> Result<Node, ParseError> {
    let mut builder = Builder { stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
            ParseError { span: Span::new(at, at), message: error.info() }
        })?;
        let span = span.byte_range().map_or(Span::default(), |range| Span::new(range.start, range.end));
        match event {
            Event::StreamEnd | Event::DocumentEnd => break,
            event => builder.take(event, span)?,
        }
    }
    builder.root.ok_or_else(|| ParseError { span: Span::default(), message: "the document is empty".to_owned() })
}

/// A collection that is still open.
struct Open {
    node: Node,
    anchor: usize,
    /// The name that waits for its value.
    key: Option<(CompactString, Span)>,
}

struct Builder {
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), ParseError> {
        let failure = |message: &str| ParseError { span, message: message.to_owned() };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(&text, style, tag.as_deref());
                self.finish(Node { span, kind }, anchor, 1, span)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Kind::Array(Vec::new()), anchor, span),
            Event::MappingStart(_, anchor, _) => self.open(Kind::Object(Vec::new()), anchor, span),
            Event::SequenceEnd | Event::MappingEnd => {
                let mut open = self.stack.pop().ok_or_else(|| failure("a collection ends that never began"))?;
                open.node.span.end = end_of(&open.node).unwrap_or(span.end).max(open.node.span.start);
                if span.end > span.start {
                    open.node.span.end = span.end;
                }
                self.finish(open.node, open.anchor, 1, span)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((mut node, count)) => {
                    node.span = span;
                    self.finish(node, 0, count, span)
                }
                None => Err(failure("the alias stands inside what it stands for")),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, kind: Kind, anchor: usize, span: Span) -> Result<(), ParseError> {
        if self.stack.len() > MAX_DEPTH {
            return Err(ParseError { span, message: format!("nested deeper than {MAX_DEPTH}") });
        }
        self.stack.push(Open { node: Node { span, kind }, anchor, key: None });
        Ok(())
    }

    /// Puts a node where it belongs: behind its name, into its list, or at the root.
    fn finish(&mut self, node: Node, anchor: usize, count: usize, span: Span) -> Result<(), ParseError> {
        self.nodes += count;
        if self.nodes > MAX_NODES {
            return Err(ParseError { span, message: format!("the document has more than {MAX_NODES} values") });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size(&node)));
        }
        let Some(open) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::Array(elements) => elements.push(node),
            Kind::Object(members) => match open.key.take() {
                None => open.key = Some((key_text(node)?, span)),
                Some((key, _)) if key == "<<" => merge(members, node),
                Some((key, key_span)) => members.push(Member { key, key_span, value: node }),
            },
            _ => {}
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Array(elements) => 1 + elements.iter().map(size).sum::<usize>(),
        Kind::Object(members) => 1 + members.iter().map(|member| size(&member.value)).sum::<usize>(),
        _ => 1,
    }
}

/// Where a block collection ends: with its last part, not with the blank lines behind it.
fn end_of(node: &Node) -> Option<usize> {
    match &node.kind {
        Kind::Array(elements) => elements.last().map(|element| element.span.end),
        Kind::Object(members) => members.last().map(|member| member.value.span.end),
        _ => None,
    }
}

fn key_text(node: Node) -> Result<CompactString, ParseError> {
    match node.kind {
        Kind::String(text) => Ok(text),
        Kind::Number(raw) => Ok(raw),
        Kind::Bool(value) => Ok(value.to_compact_string()),
        Kind::Null => Ok(CompactString::const_new("null")),
        Kind::Array(_) | Kind::Object(_) => {
            Err(ParseError { span: node.span, message: "a name must be a text".to_owned() })
        }
    }
}

/// Members that are written out win over merged ones, wherever they stand.
fn merge(members: &mut Vec<Member>, node: Node) {
    match node.kind {
        Kind::Object(merged) => {
            // Merged members go to the front, where later ones of the same name win over them.
            let mut all = merged;
            all.retain(|member| members.iter().all(|own| own.key != member.key));
            all.append(members);
            *members = all;
        }
        Kind::Array(sources) => sources.into_iter().for_each(|source| merge(members, source)),
        _ => {}
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Kind {
    let is_text_tag = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
    if style != ScalarStyle::Plain || is_text_tag {
        return Kind::String(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ => number(text).map_or_else(|| Kind::String(text.into()), Kind::Number),
    }
}

/// A number of YAML's core schema, as JSON writes it. Infinity and NaN have no such form and stay text.
fn number(text: &str) -> Option<CompactString> {
    let radix =
        |prefix: &str, radix: u32| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(value.to_compact_string());
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !body.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    if let Ok(value) = text.parse::<i128>() {
        return Some(value.to_compact_string());
    }
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let is_json = serde_json::from_str::<serde_json::Number>(text).is_ok();
    Some(if is_json { text.into() } else { format!("{value:?}").into() })
}
