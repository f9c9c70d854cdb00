//! One pass over a JSON text that checks all of it and keeps the values that were asked for.
//!
//! As forgiving as the JSON reader of the hub: comments, single quotes, names without quotes, a comma before a
//! closing bracket, `NaN`, hexadecimal and octal numbers. As strict where that one is: the text is one object, at
//! most [`MAX_DEPTH`] levels deep, and nothing follows it. Of two equal names in an object the last one counts.

use std::borrow::Cow;
use std::ops::Range;

use crate::route::body::date::is_date;
use crate::route::body::paths::{BodyPaths, NodeIndex, ROOT, Slot};

/// Deepest JSON text that is read, in objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// Longest integer that is read, in characters.
const MAX_INTEGER_LENGTH: usize = 380;

/// What a body has at a path.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::route) enum Found {
    /// Nothing, which counts as null.
    Missing,
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; may be infinite or not a number.
    Number(f64),
    /// A string without escapes: where it is in the text.
    Slice(Range<usize>),
    /// A string with its escapes resolved.
    Text(String),
    /// Something that cannot be compared: an object, an array, a date.
    Object,
}

/// Finds what the body has at each path; none if it is no JSON object.
pub(in crate::route) fn scan(text: &str, paths: &BodyPaths) -> Option<Vec<Found>> {
    let mut scanner = Scanner { text, at: 0, depth: 0, paths, found: vec![Found::Missing; paths.len()] };
    scanner.skip_blanks()?;
    scanner.eat(b'{')?;
    scanner.object(Some(ROOT))?;
    scanner.skip_blanks()?;
    (scanner.at == text.len()).then_some(scanner.found)
}

struct Scanner<'s> {
    text: &'s str,
    at: usize,
    depth: usize,
    paths: &'s BodyPaths,
    found: Vec<Found>,
}

/// A string in the text, without its quotes.
struct Quoted {
    inner: Range<usize>,
    has_escapes: bool,
}

impl<'s> Scanner<'s> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'s [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn eat_if(&mut self, byte: u8) -> bool {
        self.eat(byte).is_some()
    }

    /// Goes past blanks and comments; none for a comment that does not end.
    #[inline]
    fn skip_blanks(&mut self) -> Option<()> {
        match self.peek() {
            Some(byte @ b'!'..0x80) if byte != b'/' => Some(()),
            _ => self.skip_blanks_and_comments(),
        }
    }

    fn skip_blanks_and_comments(&mut self) -> Option<()> {
        loop {
            self.skip_whitespace();
            if self.peek() != Some(b'/') {
                return Some(());
            }
            let rest = &self.text[self.at..];
            self.at += match rest.as_bytes().get(1)? {
                b'*' => rest[2..].find("*/")? + 4,
                b'/' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
                _ => return None,
            };
        }
    }

    #[inline]
    fn skip_whitespace(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t'..=b'\r' | 0) => self.at += 1,
                Some(0x80..) => match self.text[self.at..].chars().next() {
                    Some(blank) if blank.is_whitespace() => self.at += blank.len_utf8(),
                    _ => return,
                },
                _ => return,
            }
        }
    }

    /// What follows `{`.
    fn object(&mut self, node: Option<NodeIndex>) -> Option<()> {
        self.enter()?;
        loop {
            self.skip_blanks()?;
            if self.eat_if(b'}') {
                break;
            }
            let name = self.name()?;
            let child = node.and_then(|node| self.child(node, &name));
            self.skip_whitespace();
            self.eat(b':')?;
            if let Some(child) = child {
                self.forget(child);
            }
            self.skip_blanks()?;
            self.value(child)?;
            self.skip_blanks()?;
            if !self.eat_if(b',') {
                self.eat(b'}')?;
                break;
            }
        }
        self.depth -= 1;
        Some(())
    }

    /// What follows `[`.
    fn array(&mut self, node: Option<NodeIndex>) -> Option<()> {
        self.enter()?;
        let mut index = 0_u32;
        loop {
            self.skip_blanks()?;
            if self.eat_if(b']') {
                break;
            }
            self.value(node.and_then(|node| self.paths.node(node).element(index)))?;
            index = index.saturating_add(1);
            self.skip_blanks()?;
            if !self.eat_if(b',') {
                self.eat(b']')?;
                break;
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    fn child(&self, node: NodeIndex, name: &Quoted) -> Option<NodeIndex> {
        let node = self.paths.node(node);
        let raw = &self.text[name.inner.clone()];
        if name.has_escapes { node.named(&unescaped(raw)) } else { node.named(raw) }
    }

    /// Takes back all that was found under an earlier property of the same name.
    fn forget(&mut self, node: NodeIndex) {
        let node = self.paths.node(node);
        if let Some(Slot(slot)) = node.slot {
            self.found[slot] = Found::Missing;
        }
        for below in node.below() {
            self.forget(below);
        }
    }

    fn keep(&mut self, node: Option<NodeIndex>, found: impl FnOnce() -> Found) {
        if let Some(Slot(slot)) = node.and_then(|node| self.paths.node(node).slot) {
            self.found[slot] = found();
        }
    }

    fn value(&mut self, node: Option<NodeIndex>) -> Option<()> {
        match self.peek()? {
            b'{' => {
                self.at += 1;
                self.keep(node, || Found::Object);
                self.object(node)
            }
            b'[' => {
                self.at += 1;
                self.keep(node, || Found::Object);
                self.array(node)
            }
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                if node.is_none() {
                    return self.skip_quoted(quote).map(|_| ());
                }
                let quoted = self.quoted(quote)?;
                let text = self.text;
                self.keep(node, || string(text, quoted));
                Some(())
            }
            b',' => {
                // A value that is left out is read as undefined; the comma stays.
                self.keep(node, || Found::Object);
                Some(())
            }
            b'0'..=b'9' | b'.' => self.number(node),
            b'-' if !self.rest().starts_with(b"-I") => self.number(node),
            _ => self.word(node),
        }
    }

    fn word(&mut self, node: Option<NodeIndex>) -> Option<()> {
        let rest = self.rest();
        let (word, found) = WORDS.iter().find(|(word, _)| rest.starts_with(word.as_bytes()))?;
        self.at += word.len();
        self.keep(node, || found.clone());
        self.is_separated().then_some(())
    }

    fn number(&mut self, node: Option<NodeIndex>) -> Option<()> {
        let rest = self.rest();
        // Most numbers are skipped, and most of those are plainly good.
        if node.is_none() {
            let plain = plain_number_length(rest);
            if plain > 0 && rest.get(plain).is_some_and(|byte| SEPARATES[usize::from(*byte)]) {
                self.at += plain;
                return Some(());
            }
        }
        let length = rest.iter().position(|byte| !is_number_character(*byte)).unwrap_or(rest.len());
        let number = number(&self.text[self.at..self.at + length])?;
        self.at += length;
        self.keep(node, || Found::Number(number));
        self.is_separated().then_some(())
    }

    #[inline]
    fn is_separated(&self) -> bool {
        match self.peek() {
            None => true,
            Some(0x80..) => self.text[self.at..].starts_with(char::is_whitespace),
            Some(byte) => SEPARATES[usize::from(byte)],
        }
    }

    /// The name of a property, quoted or not.
    fn name(&mut self) -> Option<Quoted> {
        if let quote @ (b'"' | b'\'') = self.peek()? {
            self.at += 1;
            return self.quoted(quote);
        }
        let rest = &self.text[self.at..];
        let length =
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).filter(|length| *length > 0)?;
        let inner = self.at..self.at + length;
        self.at += length;
        let ends_well = rest[length..].starts_with(|c: char| c.is_whitespace() || c == ':');
        ends_well.then_some(Quoted { inner, has_escapes: false })
    }

    /// What follows an opening quote.
    #[inline]
    fn quoted(&mut self, quote: u8) -> Option<Quoted> {
        let start = self.at;
        let has_escapes = self.skip_quoted(quote)?;
        Some(Quoted { inner: start..self.at - 1, has_escapes })
    }

    /// Goes past what follows an opening quote. Returns whether there are escapes in it.
    #[inline]
    fn skip_quoted(&mut self, quote: u8) -> Option<bool> {
        let mut has_escapes = false;
        loop {
            let rest = self.rest();
            let length = special(rest, quote)?;
            if rest[length] == quote {
                self.at += length + 1;
                return Some(has_escapes);
            }
            has_escapes = true;
            self.at += length + escape_length(&rest[length..])?;
        }
    }
}

/// `,` and brackets may follow; anything else makes the word no word.
const WORDS: [(&str, Found); 7] = [
    ("true", Found::Bool(true)),
    ("false", Found::Bool(false)),
    ("null", Found::Null),
    ("undefined", Found::Object),
    ("NaN", Found::Number(f64::NAN)),
    ("Infinity", Found::Number(f64::INFINITY)),
    ("-Infinity", Found::Number(f64::NEG_INFINITY)),
];

/// What may follow a number or a word, of ASCII.
const SEPARATES: [bool; 256] = {
    let mut separates = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        separates[byte] = matches!(byte as u8, b',' | b'}' | b']' | b')' | b'/' | b' ' | b'\t'..=b'\r' | 0);
        byte += 1;
    }
    separates
};

/// Where the first quote or backslash is. Eight bytes at a time, because a body is mostly text to be skipped.
#[inline]
fn special(bytes: &[u8], quote: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = bytes.as_chunks();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let hits = has_zero(word ^ (ONES * u64::from(quote))) | has_zero(word ^ (ONES * u64::from(b'\\')));
        if hits != 0 {
            return Some(at + (hits.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes[at..].iter().position(|byte| *byte == quote || *byte == b'\\').map(|offset| at + offset)
}

/// Length of the escape at the start; none if there is no such escape.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'b' | b't' | b'n' | b'f' | b'r' | b'\\' | b'"' | b'\'' | b'/' => Some(2),
        b'u' => bytes.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

fn string(text: &str, quoted: Quoted) -> Found {
    let raw = &text[quoted.inner.clone()];
    let value = if quoted.has_escapes { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) };
    match value {
        value if is_date(&value) => Found::Object,
        Cow::Borrowed(_) => Found::Slice(quoted.inner),
        Cow::Owned(value) => Found::Text(value),
    }
}

/// Resolves the escapes of a string whose escapes are all good. Half a pair becomes the replacement character.
fn unescaped(raw: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(c) = characters.next() {
        let mut unit = [0; 2];
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut unit));
            continue;
        }
        units.push(match characters.next() {
            Some('b') => 8,
            Some('t') => 9,
            Some('n') => 10,
            Some('f') => 12,
            Some('r') => 13,
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                u16::from_str_radix(&digits, 16).unwrap_or(0xFFFD)
            }
            Some(other) => other.encode_utf16(&mut unit)[0],
            None => break,
        });
    }
    String::from_utf16_lossy(&units)
}

fn is_number_character(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b'x' | b'X' | b'+' | b'-' | b'.')
}

/// Length of a number such as `-12.5` that needs no second look, or 0.
#[inline]
fn plain_number_length(bytes: &[u8]) -> usize {
    let digits_from = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits_from(sign);
    // Zeros in front may mean another base, and very long ones are refused.
    if whole == sign || (whole > sign + 1 && bytes[sign] == b'0') || whole > MAX_INTEGER_LENGTH {
        return 0;
    }
    if bytes.get(whole) == Some(&b'.') { digits_from(whole + 1) } else { whole }
}

fn number(digits: &str) -> Option<f64> {
    let bytes = digits.as_bytes();
    if bytes.len() > 1 && bytes[0] == b'0' && !matches!(bytes[1], b'.' | b'e' | b'E') {
        return other_base(digits);
    }
    let is_integer = bytes.iter().all(|digit| digit.is_ascii_digit() || *digit == b'-');
    if is_integer && bytes.len() > MAX_INTEGER_LENGTH {
        return None;
    }
    digits.parse().ok()
}

/// A number that begins with 0: hexadecimal with `0x`, octal without.
#[expect(clippy::cast_precision_loss, reason = "all numbers of the language are doubles")]
fn other_base(digits: &str) -> Option<f64> {
    let (digits, base) = match digits.as_bytes()[1] {
        b'x' | b'X' => (&digits[2..], 16),
        _ => (digits, 8),
    };
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_plain.then(|| u64::from_str_radix(digits, base).ok()).flatten().map(|bits| bits.cast_signed() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::body::path::BodyPath;

    fn find(text: &str, path: &str) -> Option<Found> {
        let mut paths = BodyPaths::default();
        let slot = paths.slot(&BodyPath::parse(path).unwrap()).unwrap();
        scan(text, &paths).map(|found| found[slot.0].clone())
    }

    fn text(text: &str) -> Found {
        Found::Text(text.into())
    }

    #[test]
    fn values_are_found() {
        for (body, path, expected) in [
            (r#"{"a":{"b":[1,{"c":2.5}]}}"#, "a.b[1].c", Found::Number(2.5)),
            (r#"{"a":{"b":1},"a":{}}"#, "a.b", Found::Missing),
            (r#"{"a":1,"a":2}"#, "a", Found::Number(2.0)),
            (r#"{"a":1}"#, "A", Found::Missing),
            (r#"{"a":1}"#, "a.b", Found::Missing),
            (r#"{"\u0061":"x\ty"}"#, "a", text("x\ty")),
            (r#"{"a":"\ud83d\ude00\ud83d"}"#, "a", text("😀\u{FFFD}")),
            (r#"{"a":"2017-03-09T00:00:00Z"}"#, "a", Found::Object),
            (r#"{"a":[],"b":null}"#, "a", Found::Object),
            (r#"{"a":[],"b":null}"#, "b", Found::Null),
            ("{a:'x',}// end", "a", Found::Slice(4..5)),
            ("{/**/\"a\"/", "a", Found::Missing),
            (r#"{"a":[1,,2,]}"#, "a[2]", Found::Number(2.0)),
            (r#"{"a":0x10,"b":017}"#, "a", Found::Number(16.0)),
            (r#"{"a":1e400}"#, "a", Found::Number(f64::INFINITY)),
            (r#"{"a":-Infinity}"#, "a", Found::Number(f64::NEG_INFINITY)),
        ] {
            if body.ends_with('/') {
                assert_eq!(find(body, path), None, "{body}");
            } else {
                assert_eq!(find(body, path), Some(expected), "{body} {path}");
            }
        }
    }

    #[test]
    fn what_is_no_object_has_nothing() {
        for body in [
            "",
            "[]",
            "1",
            "{",
            r#"{"a"}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
            r#"{"a":tru}"#,
            r#"{"a":truex}"#,
            r#"{"a":"\q"}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":1.2.3}"#,
            r#"{"a":-}"#,
            r#"{"a":"x}"#,
            "\u{FEFF}{}",
            "{,}",
            r#"{"a":]}"#,
        ] {
            assert_eq!(find(body, "a"), None, "{body}");
        }
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(find(&nested(MAX_DEPTH), "a"), Some(Found::Object));
        assert_eq!(find(&nested(MAX_DEPTH + 1), "a"), None);
        assert_eq!(find(&nested(100_000), "a"), None);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1e9..1e9).prop_map(|number: f64| number.into()),
            "\\PC{0,12}|[\"\\\\/]{0,9}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[a-c]", inner), 0..4)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_another_reader(value in json(), is_pretty in any::<bool>()) {
            let body = serde_json::json!({ "a": value, "z": "x" });
            let written = if is_pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
            let written = written.unwrap();
            for path in ["a", "a.b", "a.a.c", "a[0]", "a[1].b", "a.c[2]", "z"] {
                let pointer = format!("/{}", path.replace("].", "/").replace(['.', '['], "/").replace(']', ""));
                let found = find(&written, path).unwrap();
                match (body.pointer(&pointer), found) {
                    (None, found) => prop_assert_eq!(found, Found::Missing),
                    (Some(serde_json::Value::Null), found) => prop_assert_eq!(found, Found::Null),
                    (Some(serde_json::Value::Bool(truth)), found) => prop_assert_eq!(found, Found::Bool(*truth)),
                    (Some(serde_json::Value::Number(number)), Found::Number(found)) => {
                        prop_assert_eq!(number.as_f64(), Some(found));
                    }
                    (Some(serde_json::Value::String(text)), Found::Text(found)) => prop_assert_eq!(text, &found),
                    (Some(serde_json::Value::String(text)), Found::Slice(range)) => {
                        prop_assert_eq!(text, &written[range]);
                    }
                    (Some(other), found) => {
                        prop_assert!(found == Found::Object && (other.is_array() || other.is_object()), "{found:?}");
                    }
                }
            }
        }

        #[test]
        fn never_fails_badly(body in "[{}\\[\\]\"',:/*\\\\ua0.eE+x \\PC-]{0,40}") {
            let _ = find(&format!("{{{body}"), "a.b");
        }
    }
}
