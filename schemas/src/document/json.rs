//! Reads JSON, and JSON with comments and trailing commas, keeping the place of every part.
//!
//! One pass over the bytes; depth is bounded, so hostile text cannot exhaust the stack.

use compact_str::CompactString;

use super::document::{MAX_DEPTH, ParseError};
use super::node::{Kind, Member, Node, Span};

/// What was read: the tree, and the first place where the text is not strict JSON.
pub struct Parsed {
    /// The tree.
    pub root: Node,
    /// The first comment or trailing comma.
    pub extension: Option<Span>,
}

/// Reads a text.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, extension: None };
    reader.blanks()?;
    if reader.at == reader.bytes.len() {
        return Err(reader.error_at(reader.at, "the document is empty"));
    }
    let root = reader.value(0)?;
    reader.blanks()?;
    if reader.at < reader.bytes.len() {
        return Err(reader.error_at(reader.at, "there is more text behind the end of the document"));
    }
    Ok(Parsed { root, extension: reader.extension })
}

/// The bytes that end a stretch of text that stands for itself: the quote, the backslash, control characters.
const ENDS_PLAIN: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        ends[byte] = true;
        byte += 1;
    }
    ends[b'"' as usize] = true;
    ends[b'\\' as usize] = true;
    ends
};

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    extension: Option<Span>,
}

impl Reader<'_> {
    fn error_at(&self, at: usize, message: &str) -> ParseError {
        let width = self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        ParseError { span: Span::new(at, at + width), message: message.to_owned() }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn extended(&mut self, start: usize) {
        self.extension.get_or_insert(Span::new(start, self.at));
    }

    /// Skips blanks and comments.
    fn blanks(&mut self) -> Result<(), ParseError> {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'/' => self.comment()?,
                _ => break,
            }
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").ok_or_else(|| self.error_at(start, "the comment has no end"))?;
            self.at += end + 2;
        } else {
            return Err(self.error_at(start, "unexpected character '/'"));
        }
        self.extended(start);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, ParseError> {
        let start = self.at;
        if depth > MAX_DEPTH {
            return Err(self.error_at(start, &format!("nested deeper than {MAX_DEPTH}")));
        }
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            None => return Err(self.error_at(start, "the document ends where a value is expected")),
            Some(_) => return Err(self.unexpected("a value")),
        };
        Ok(Node { span: Span::new(start, self.at), kind })
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        match self.text[self.at..].chars().next() {
            None => self.error_at(self.at, &format!("the document ends where {expected} is expected")),
            Some(character) => self.error_at(self.at, &format!("expected {expected}, found {character:?}")),
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Kind, ParseError> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if &rest[..end] != word {
            let span = Span::new(self.at, self.at + end.max(1));
            return Err(ParseError { span, message: format!("expected a value, found {:?}", &rest[..end]) });
        }
        self.at += word.len();
        Ok(kind)
    }

    fn object(&mut self, depth: usize) -> Result<Kind, ParseError> {
        let open = self.at;
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        loop {
            self.blanks()?;
            match self.peek() {
                Some(b'}') => break,
                Some(b'"') => members.push(self.member(depth)?),
                None => return Err(self.error_at(open, "the object has no closing '}'")),
                Some(_) => return Err(self.unexpected("a name in double quotes")),
            }
            if !self.comma_before(b'}', "',' or '}'")? {
                break;
            }
        }
        self.at += 1;
        Ok(Kind::Object(members))
    }

    fn member(&mut self, depth: usize) -> Result<Member, ParseError> {
        let start = self.at;
        let key = self.string()?;
        let key_span = Span::new(start, self.at);
        self.blanks()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("':'"));
        }
        self.at += 1;
        self.blanks()?;
        Ok(Member { key, key_span, value: self.value(depth + 1)? })
    }

    fn array(&mut self, depth: usize) -> Result<Kind, ParseError> {
        let open = self.at;
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.blanks()?;
            match self.peek() {
                Some(b']') => break,
                None => return Err(self.error_at(open, "the array has no closing ']'")),
                Some(_) => elements.push(self.value(depth + 1)?),
            }
            if !self.comma_before(b']', "',' or ']'")? {
                break;
            }
        }
        self.at += 1;
        Ok(Kind::Array(elements))
    }

    /// Reads a comma, and says whether one was there. A comma before the closing bracket is an extension.
    fn comma_before(&mut self, close: u8, expected: &str) -> Result<bool, ParseError> {
        self.blanks()?;
        match self.peek() {
            Some(b',') => {
                let comma = self.at;
                self.at += 1;
                let end = self.at;
                self.blanks()?;
                if self.peek() == Some(close) {
                    self.extension.get_or_insert(Span::new(comma, end));
                }
                Ok(true)
            }
            Some(byte) if byte == close => Ok(false),
            _ => Err(self.unexpected(expected)),
        }
    }

    fn number(&mut self) -> Result<Kind, ParseError> {
        let start = self.at;
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while reader.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                reader.at += 1;
            }
            reader.at > from
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let integer_start = self.at;
        let mut valid = digits(self) && !(leading_zero && self.at - integer_start > 1);
        if self.peek() == Some(b'.') {
            self.at += 1;
            valid &= digits(self);
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            valid &= digits(self);
        }
        let text = &self.text[start..self.at];
        if !valid {
            return Err(ParseError {
                span: Span::new(start, self.at),
                message: format!("{text:?} is not a number of JSON"),
            });
        }
        Ok(Kind::Number(text.into()))
    }

    fn string(&mut self) -> Result<CompactString, ParseError> {
        let open = self.at;
        self.at += 1;
        // Most strings are one stretch without anything special, and most of those fit into the value itself.
        let length = self.plain_length(self.at);
        if self.bytes.get(self.at + length) == Some(&b'"') {
            let text = CompactString::from(&self.text[self.at..self.at + length]);
            self.at += length + 1;
            return Ok(text);
        }
        let mut decoded = CompactString::with_capacity(self.written_length(self.at));
        loop {
            let length = self.plain_length(self.at);
            decoded.push_str(&self.text[self.at..self.at + length]);
            self.at += length;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(decoded);
                }
                Some(b'\\') => decoded.push(self.escape()?),
                Some(_) => return Err(self.control_character()),
                None => return Err(self.error_at(open, "the string has no closing '\"'")),
            }
        }
    }

    /// How many bytes from there on stand for themselves.
    fn plain_length(&self, from: usize) -> usize {
        let rest = &self.bytes[from..];
        rest.iter().position(|byte| ENDS_PLAIN[usize::from(*byte)]).unwrap_or(rest.len())
    }

    /// How many bytes the string's text has from there to its closing quote, or to where it breaks.
    fn written_length(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            at += self.plain_length(at);
            match self.bytes.get(at) {
                Some(b'\\') => at = (at + 2).min(self.bytes.len()),
                _ => return at - from,
            }
        }
    }

    fn control_character(&self) -> ParseError {
        let message = match self.bytes[self.at] {
            b'\n' | b'\r' => "the string has no closing '\"' on its line".to_owned(),
            byte => format!("the string has the control character U+{byte:04X}; write it as \\u{byte:04x}"),
        };
        self.error_at(self.at, &message)
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        if let Some((character, length)) = read_escape(&self.text[self.at..]) {
            self.at += length;
            return Ok(character);
        }
        let next = self.text[self.at + 1..].chars().next().map_or(0, char::len_utf8);
        Err(ParseError {
            span: Span::new(self.at, self.at + 1 + next),
            message: "this escape is none of JSON's; a backslash itself is written \\\\".to_owned(),
        })
    }
}

/// Reads the escape a text starts with: the character, and the escape's length in bytes. Half a surrogate pair
/// becomes the replacement character.
pub(super) fn read_escape(text: &str) -> Option<(char, usize)> {
    let bytes = text.as_bytes();
    let simple = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode_escape(bytes),
        _ => return None,
    };
    Some((simple, 2))
}

fn read_unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |from: usize| {
        let digits = std::str::from_utf8(bytes.get(from..from + 4)?).ok()?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    let first = unit(2)?;
    let has_pair = (0xd800..0xdc00).contains(&first) && bytes.get(6..8) == Some(b"\\u");
    if let Some(second) = unit(8).filter(|second| has_pair && (0xdc00..0xe000).contains(second)) {
        let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return Some((char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 12));
    }
    Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6))
}
