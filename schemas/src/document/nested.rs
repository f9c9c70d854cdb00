//! From a place inside a string's value to the place in the text of the document.

use super::json::read_escape;
use super::node::Span;

/// Where a stretch of a string's value (in bytes of the value) stands in a text. `whole` is where the string stands,
/// as written, and the result if the value cannot be followed.
pub fn place(text: &str, whole: Span, value: &str, inner: Span) -> Span {
    let column = whole.start - text.get(..whole.start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    match text.get(whole.range()).and_then(|literal| follow(literal, column, value, inner)) {
        Some(offsets) => Span::new(whole.start + offsets.start, whole.start + offsets.end),
        None => whole,
    }
}

fn follow(literal: &str, column: usize, value: &str, inner: Span) -> Option<Span> {
    if literal == value {
        return Some(inner);
    }
    match literal.as_bytes().first()? {
        b'"' => quoted(literal, value, inner),
        b'\'' => single_quoted(literal, value, inner),
        _ => block(literal, column, value, inner),
    }
}

fn plain(rest: &str) -> Option<(char, usize)> {
    rest.chars().next().map(|character| (character, character.len_utf8()))
}

/// Byte by byte, since most characters are written as they are, and most strings are long.
fn quoted(literal: &str, value: &str, inner: Span) -> Option<Span> {
    let (written, meant) = (literal.as_bytes(), value.as_bytes());
    let (mut at, mut offset) = (1, 0);
    let mut start = None;
    while offset < inner.end.min(meant.len()) {
        if offset >= inner.start && start.is_none() {
            start = Some(at);
        }
        if written.get(at)? == &b'\\' {
            let (character, length) = read_escape(literal.get(at..)?)?;
            if !value.get(offset..)?.starts_with(character) {
                return None;
            }
            at += length;
            offset += character.len_utf8();
        } else {
            if written[at] != meant[offset] {
                return None;
            }
            at += 1;
            offset += 1;
        }
    }
    (at <= literal.len()).then(|| Span::new(start.unwrap_or(at), at))
}

/// Two quotes stand for one.
fn single_quoted(literal: &str, value: &str, inner: Span) -> Option<Span> {
    let mut at = 1;
    let mut found = Span::new(usize::MAX, usize::MAX);
    for (offset, expected) in value.char_indices().chain([(value.len(), '\'')]) {
        if offset <= inner.start {
            found.start = at;
        }
        if offset <= inner.end {
            found.end = at;
        }
        if offset > inner.end || offset == value.len() {
            break;
        }
        let rest = literal.get(at..)?;
        let (character, length) = if rest.starts_with("''") { ('\'', 2) } else { plain(rest)? };
        if character != expected {
            return None;
        }
        at += length;
    }
    (found.start <= found.end && found.end <= literal.len()).then_some(found)
}

/// A literal block of YAML: the place begins with its first character, later lines share that one's indentation.
fn block(literal: &str, indent: usize, value: &str, inner: Span) -> Option<Span> {
    let mut at = 0;
    let mut found = (None, None);
    let mut is_line_start = false;
    for (offset, expected) in value.char_indices().chain([(value.len(), '\0')]) {
        if is_line_start {
            at += literal.get(at..)?.bytes().take(indent).take_while(|byte| *byte == b' ').count();
        }
        if offset == inner.start {
            found.0 = Some(at);
        }
        if offset == inner.end {
            found.1 = Some(at);
        }
        if offset == value.len() {
            break;
        }
        // The last line end may lie behind the place.
        let (character, length) = plain(literal.get(at..)?).or((expected == '\n').then_some(('\n', 0)))?;
        if character != expected {
            return None;
        }
        at += length;
        is_line_start = expected == '\n';
    }
    Some(Span::new(found.0?, found.1?))
}
