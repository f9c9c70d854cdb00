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

/// Walks literal and value side by side; `step` gives the next character of the value and its length as written.
fn walk(
    literal: &str,
    value: &str,
    inner: Span,
    step: impl Fn(&str) -> Option<(char, usize)>,
    skip: usize,
) -> Option<Span> {
    let mut at = skip;
    let mut found = Span::new(usize::MAX, usize::MAX);
    for (offset, expected) in value.char_indices() {
        if offset <= inner.start {
            found.start = at;
        }
        if offset <= inner.end {
            found.end = at;
        }
        if offset > inner.end {
            break;
        }
        let (character, length) = step(literal.get(at..)?)?;
        if character != expected {
            return None;
        }
        at += length;
    }
    if inner.start >= value.len() {
        found.start = at;
    }
    if inner.end >= value.len() {
        found.end = at;
    }
    (found.start <= found.end && found.end <= literal.len()).then_some(found)
}

fn plain(rest: &str) -> Option<(char, usize)> {
    rest.chars().next().map(|character| (character, character.len_utf8()))
}

fn quoted(literal: &str, value: &str, inner: Span) -> Option<Span> {
    walk(literal, value, inner, |rest| if rest.starts_with('\\') { read_escape(rest) } else { plain(rest) }, 1)
}

fn single_quoted(literal: &str, value: &str, inner: Span) -> Option<Span> {
    walk(literal, value, inner, |rest| if rest.starts_with("''") { Some(('\'', 2)) } else { plain(rest) }, 1)
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
