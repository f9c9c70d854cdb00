//! Going past a value that nobody asked for, as quickly as JSON without peculiarities allows.
//!
//! Most of a body is such values. What is not plain, a comment, say, or a number in another base, is left to the
//! forgiving reader, which begins the value anew: what this one takes, that one would take just so.

/// Where the plain value at `at` ends. None if it is not plain, or more than `depth` levels deep.
pub(in crate::route) fn skip_plain(bytes: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    let mut open = Open::default();
    loop {
        // A value begins here.
        at = match *bytes.get(at)? {
            b'"' => string(bytes, at + 1)?,
            b'{' => {
                open.push(true, depth)?;
                let inner = blanks(bytes, at + 1);
                match *bytes.get(inner)? {
                    b'}' => inner,
                    _ => {
                        at = name(bytes, inner)?;
                        continue;
                    }
                }
            }
            b'[' => {
                open.push(false, depth)?;
                at = blanks(bytes, at + 1);
                if *bytes.get(at)? != b']' {
                    continue;
                }
                at
            }
            b'-' | b'0'..=b'9' => number(bytes, at)?,
            b't' => word(bytes, at, b"true")?,
            b'f' => word(bytes, at, b"false")?,
            b'n' => word(bytes, at, b"null")?,
            _ => return None,
        };
        // A value ended, or the brackets around no value at all are about to.
        loop {
            if open.depth == 0 {
                return Some(at);
            }
            at = blanks(bytes, at);
            match *bytes.get(at)? {
                b',' if open.is_object() => {
                    at = name(bytes, blanks(bytes, at + 1))?;
                    break;
                }
                b',' => {
                    at = blanks(bytes, at + 1);
                    break;
                }
                b'}' if open.is_object() => open.pop(),
                b']' if !open.is_object() => open.pop(),
                _ => return None,
            }
            at += 1;
        }
    }
}

/// Brackets that are open: a bit for each, set for braces.
#[derive(Default)]
struct Open {
    braces: u64,
    depth: usize,
}

impl Open {
    fn push(&mut self, brace: bool, limit: usize) -> Option<()> {
        (self.depth < limit.min(64)).then_some(())?;
        self.braces = self.braces << 1 | u64::from(brace);
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) {
        self.braces >>= 1;
        self.depth -= 1;
    }

    fn is_object(&self) -> bool {
        self.braces & 1 == 1
    }
}

#[inline]
fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Past a name, its colon, and the blanks behind it.
#[inline]
fn name(bytes: &[u8], at: usize) -> Option<usize> {
    (*bytes.get(at)? == b'"').then_some(())?;
    let colon = blanks(bytes, string(bytes, at + 1)?);
    (*bytes.get(colon)? == b':').then(|| blanks(bytes, colon + 1))
}

/// Past what follows an opening quote.
#[inline]
fn string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += special(bytes.get(at..)?, b'"')?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += escape_length(&bytes[at..])?;
    }
}

/// Length of the escape at the start; none if there is no such escape.
pub(in crate::route) fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'b' | b't' | b'n' | b'f' | b'r' | b'\\' | b'"' | b'\'' | b'/' => Some(2),
        b'u' => bytes.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// Where the first quote or backslash is. Eight bytes at a time, because a body is mostly text to be skipped.
#[inline]
pub(in crate::route) fn special(bytes: &[u8], quote: u8) -> Option<usize> {
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

/// Past a number such as `-12.5`, if a blank, comma or bracket follows. Zeros in front may mean another base.
#[inline]
fn number(bytes: &[u8], start: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let first = start + usize::from(bytes[start] == b'-');
    let whole = digits(first);
    let is_plain = whole > first && (bytes[first] != b'0' || whole == first + 1) && whole - first < 300;
    let end = if bytes.get(whole) == Some(&b'.') { digits(whole + 1) } else { whole };
    (is_plain && is_end(bytes, end)).then_some(end)
}

#[inline]
fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    (bytes.get(at..end)? == word && is_end(bytes, end)).then_some(end)
}

#[inline]
fn is_end(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_skipped_and_others_left() {
        for (text, expected) in [
            (r#""a" "#, Some(3)),
            ("12.5,", Some(4)),
            ("-0]", Some(2)),
            ("true}", Some(4)),
            (r#"{"a": [1, {"b": null} , []], "c":{}} ,"#, Some(36)),
            ("[[],[[1]]]x", Some(10)),
            ("[ ]", Some(3)),
            ("012,", None),
            ("1e5,", None),
            ("truex", None),
            ("[1,]", Some(0)),
            (r#"{"a":1,}"#, None),
            (r#"{"a" 1}"#, None),
            (r#""a\n\u00e9\"""#, Some(13)),
            (r#""a\q""#, None),
            ("'a'", None),
            ("[1 /* */]", None),
            ("{\"a\":1", None),
            ("[}", None),
            ("1", None),
        ] {
            // A comma before a closing bracket is one of the peculiarities.
            let expected = expected.filter(|end| *end > 0);
            assert_eq!(skip_plain(text.as_bytes(), 0, 64), expected, "{text}");
        }
        assert_eq!(skip_plain(b"[[[]]]", 0, 3), Some(6));
        assert_eq!(skip_plain(b"[[[]]]", 0, 2), None);
    }
}
