//! Numbers in text, as the runtime of the hub reads them in any of its styles.

/// Reads a number with everything that may surround one: blanks, a sign before or behind, parentheses for a minus,
/// a currency sign, commas between digits, a fraction, an exponent. Too large ones are infinite.
pub fn parse(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_blank);
    if let Some(number) = parse_symbol(text) {
        return Some(number);
    }
    let (text, is_parenthesised) = match text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => (inner.trim_matches(is_blank), true),
        None => (text, false),
    };
    let (text, leading) = take_decoration(text, true);
    let (text, trailing) = take_decoration(text, false);
    let signs = [is_parenthesised.then_some(true), leading, trailing];
    let mut signs = signs.iter().flatten();
    let is_negative = signs.next().copied().unwrap_or_default();
    if signs.next().is_some() {
        return None;
    }
    let number = parse_unsigned(text)?;
    Some(if is_negative { -number } else { number })
}

/// Reads hexadecimal digits as a signed number of 64 bits.
pub fn parse_hexadecimal(digits: &str) -> Option<f64> {
    let bits = u64::from_str_radix(digits, 16).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "all numbers of the language are doubles")]
    Some(bits.cast_signed() as f64)
}

fn is_blank(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

fn parse_symbol(text: &str) -> Option<f64> {
    let (unsigned, sign) = match text.as_bytes().first()? {
        b'-' => (&text[1..], -1.0),
        b'+' => (&text[1..], 1.0),
        _ => (text, 1.0),
    };
    unsigned.eq_ignore_ascii_case("Infinity").then_some(sign * f64::INFINITY)
}

/// Takes a sign, a currency sign and blanks from one end; the sign is true for a minus.
fn take_decoration(text: &str, from_start: bool) -> (&str, Option<bool>) {
    let mut text = text;
    let (mut sign, mut has_currency) = (None, false);
    while let Some(edge) = if from_start { text.chars().next() } else { text.chars().next_back() } {
        match edge {
            '-' | '+' if sign.is_none() => sign = Some(edge == '-'),
            '¤' if !has_currency => has_currency = true,
            blank if is_blank(blank) => {}
            _ => break,
        }
        let length = edge.len_utf8();
        text = if from_start { &text[length..] } else { &text[..text.len() - length] };
    }
    (text, sign)
}

fn parse_unsigned(text: &str) -> Option<f64> {
    let whole_length = text.find(['.', 'e', 'E']).unwrap_or(text.len());
    let (whole, rest) = text.split_at(whole_length);
    let is_number = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' | b','))
        && !rest.contains(',')
        && !whole.starts_with(',')
        && text.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if !is_number {
        return None;
    }
    if whole.contains(',') { (whole.replace(',', "") + rest).parse().ok() } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_many_dresses() {
        for (text, expected) in [
            ("3", Some(3.0)),
            (" -3.5 ", Some(-3.5)),
            ("10e10", Some(10e10)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1,234.5", Some(1234.5)),
            ("(5)", Some(-5.0)),
            ("5-", Some(-5.0)),
            ("1e400", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("", None),
            ("e5", None),
            ("-", None),
            ("--5", None),
            ("1.2.3", None),
            ("0x10", None),
            ("nan", None),
            ("value1", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse_hexadecimal("10"), Some(16.0));
        assert_eq!(parse_hexadecimal("FFFFFFFFFFFFFFFF"), Some(-1.0));
        assert_eq!(parse_hexadecimal("10000000000000000"), None);
    }
}
