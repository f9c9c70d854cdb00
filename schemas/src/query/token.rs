//! Text to tokens.

use super::parser::QueryError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A word: a keyword, in any case, or a name.
    Word(String),
    /// A name in double brackets, which is never a keyword.
    Quoted(String),
    /// A string in single or double quotes, without its escapes.
    Text(String),
    /// A number.
    Number(f64),
    /// Anything else that the language knows.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// A token and the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub at: usize,
}

/// Longer ones first.
const SIGNS: [&str; 16] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ".", "+", "-", "*", "/", "%"];

/// Splits a text into tokens, the last of which is the end.
pub fn split(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (kind, length) = match first {
            '\'' | '"' => quoted(rest, first, at)?,
            '0'..='9' => number(rest, at)?,
            _ if rest.starts_with("[[") => bracketed(rest, at)?,
            '[' => (Kind::Sign("["), 1),
            ']' => (Kind::Sign("]"), 1),
            _ if is_name(first) => {
                let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (Kind::Word(rest[..length].to_owned()), length)
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Kind::Sign(sign), sign.len()),
                None => return Err(QueryError::new(at, format!("{first:?} is not a part of the language"))),
            },
        };
        tokens.push(Token { kind, at });
        at += length;
    }
    tokens.push(Token { kind: Kind::End, at });
    Ok(tokens)
}

/// What a name may have in it without brackets; a dollar as in `$version`.
pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#' | '@')
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<(Kind, usize), QueryError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Kind::Text(text), index + 1)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\'' | '"' | '\\'))) => text.push(escaped),
                Some((index, 'u')) => {
                    let digits = rest.get(index + 1..index + 5);
                    let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                    let digits = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                    let escaped = digits.and_then(char::from_u32);
                    let wrong = || QueryError::new(at + index, "\\u needs the four hexadecimal digits of a character");
                    text.push(escaped.ok_or_else(wrong)?);
                    chars.by_ref().take(4).for_each(drop);
                }
                // A backslash before anything else stands for itself.
                Some((_, other)) => text.extend(['\\', other]),
                None => break,
            },
            _ => text.push(c),
        }
    }
    Err(QueryError::new(at, format!("the text that begins with {quote} has no end")))
}

fn bracketed(rest: &str, at: usize) -> Result<(Kind, usize), QueryError> {
    let end = rest.find("]]").ok_or_else(|| QueryError::new(at, "the name that begins with [[ has no ]]"))?;
    match &rest[2..end] {
        "" => Err(QueryError::new(at, "the name between [[ and ]] is empty")),
        name => Ok((Kind::Quoted(name.to_owned()), end + 2)),
    }
}

fn number(rest: &str, at: usize) -> Result<(Kind, usize), QueryError> {
    let wrong = |text: &str| QueryError::new(at, format!("{text} is not a number"));
    if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = digits.find(|c: char| !is_name(c)).unwrap_or(digits.len());
        let value = u64::from_str_radix(&digits[..length], 16).map_err(|_| wrong(&rest[..length + 2]))?;
        #[expect(clippy::cast_precision_loss, reason = "numbers are those of JSON")]
        return Ok((Kind::Number(value as f64), length + 2));
    }
    let mut length = 0;
    let mut before = ' ';
    for c in rest.chars() {
        let goes_on = is_name(c) || c == '.' || (matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
        if !goes_on {
            break;
        }
        length += c.len_utf8();
        before = c;
    }
    let text = &rest[..length];
    let value: f64 = text.parse().map_err(|_| wrong(text))?;
    if value.is_finite() { Ok((Kind::Number(value), length)) } else { Err(wrong(text)) }
}
