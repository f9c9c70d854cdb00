//! The tree of a document.

use std::fmt::Write as _;
use std::ops::Range;

use compact_str::CompactString;
use serde_json::Value;

/// A stretch of text, in bytes, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// From the first byte to before the last.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// As a range, for slicing.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value's text, quotes and brackets included.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it is written in JSON.
    Number(CompactString),
    /// A text, without escapes.
    String(CompactString),
    /// A list.
    Array(Vec<Node>),
    /// Members in the order they are written; names may repeat, the last one counts.
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name, without escapes.
    pub key: CompactString,
    /// The name's text, quotes included.
    pub key_span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The members, if this is an object.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    pub fn elements(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number as an integer, if it is one; `3.0` is.
    pub fn integer(&self) -> Option<i64> {
        match &self.kind {
            Kind::Number(raw) => raw.parse().ok().or_else(|| {
                let value: f64 = raw.parse().ok()?;
                // Both limits are exact as doubles; beyond them a double is no exact integer.
                (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
            }),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The member of that name; the last one if it repeats.
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members()?.iter().rev().find(|member| member.key == key)
    }

    /// The value of the member of that name.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    /// The value of the member of that name, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.kind {
            Kind::Object(members) => {
                members.iter_mut().rev().find(|member| member.key == key).map(|member| &mut member.value)
            }
            _ => None,
        }
    }

    /// The member whose name is that one but for the case of ASCII letters, as the agent looks members up.
    pub fn member_any_case(&self, key: &str) -> Option<&Member> {
        self.members()?.iter().rev().find(|member| member.key.eq_ignore_ascii_case(key))
    }

    /// What kind of value this is, for messages: `an object`, `a string`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Object(_) => "an object",
        }
    }

    /// The value without its places. Of members that repeat, the last one counts, in the place of the first.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(raw) => serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.to_string())),
            Kind::String(text) => Value::String(text.to_string()),
            Kind::Array(elements) => Value::Array(elements.iter().map(Self::to_value).collect()),
            Kind::Object(members) => {
                Value::Object(members.iter().map(|member| (member.key.to_string(), member.value.to_value())).collect())
            }
        }
    }

    /// The path of the innermost part that stands at a byte: `modulesContent.$edgeHub."properties.desired".routes`.
    /// Names that hold a dot or a blank are quoted, elements are `[0]`.
    pub fn path_at(&self, offset: usize) -> String {
        let mut path = String::new();
        let mut node = self;
        let inside = |span: Span| span.start <= offset && offset < span.end.max(span.start + 1);
        loop {
            match &node.kind {
                Kind::Object(members) => {
                    let Some(member) = members.iter().find(|m| inside(m.key_span) || inside(m.value.span)) else {
                        return path;
                    };
                    push_key(&mut path, &member.key);
                    if inside(member.key_span) {
                        return path;
                    }
                    node = &member.value;
                }
                Kind::Array(elements) => {
                    let Some(index) = elements.iter().position(|element| inside(element.span)) else {
                        return path;
                    };
                    let _ = write!(path, "[{index}]");
                    node = &elements[index];
                }
                _ => return path,
            }
        }
    }
}

/// Adds a member's name to a path.
pub(super) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    if key.is_empty() || key.contains(['.', ' ', '[', ']', '"']) {
        let _ = write!(path, "{key:?}");
    } else {
        path.push_str(key);
    }
}
