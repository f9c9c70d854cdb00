//! Text to tokens.
//!
//! The longest match wins, and among matches of one length the first rule, in the order in which
//! `longest_token` tries them. Names take nearly every character, so `a+b` is one name and `'it''s'` too.

use crate::route::error::Span;

/// What a token is. Words are recognised in any case except `true`, `false`, `null` and `undefined`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `SELECT`
    Select,
    /// `FROM`
    From,
    /// `WHERE`
    Where,
    /// `INTO`
    Into,
    /// A string in single or double quotes.
    Text,
    /// A string that is not closed.
    UnterminatedText,
    /// Digits, perhaps with a minus before them.
    Integer,
    /// `0x` and digits.
    Hexadecimal,
    /// A number with a point or an exponent. Digits before the exponent may be missing.
    Real,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
    /// `undefined`
    Undefined,
    /// `(`
    OpenParenthesis,
    /// `)`
    CloseParenthesis,
    /// `,`
    Comma,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// `AND`
    And,
    /// `OR`
    Or,
    /// `NOT`
    Not,
    /// `=`
    Equal,
    /// `!=` or `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `||`
    Concat,
    /// `??`
    Coalesce,
    /// `$name`, which may have brackets.
    SystemName,
    /// A name.
    Name,
    /// A name with brackets, which no rule of the grammar takes.
    Path,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// A character that begins nothing.
    Unknown,
    /// The end of the text.
    End,
}

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is.
    pub span: Span,
}

/// A text in tokens, the last of which is always [`TokenKind::End`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// All that the grammar sees.
    pub tokens: Vec<Token>,
    /// The comments, which it does not see.
    pub comments: Vec<Span>,
}

/// Splits a text into tokens. Every text has some.
pub fn split(text: &str) -> Tokens {
    let mut tokens = Vec::new();
    let mut comments = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if matches!(first, ' ' | '\t' | '\r' | '\n') {
            at += 1;
            continue;
        }
        let (kind, length) = longest_token(&text[at..], first);
        let span = Span::new(at, at + length);
        at += length;
        match kind {
            Some(kind) => tokens.push(Token { kind, span }),
            None => comments.push(span),
        }
    }
    tokens.push(Token { kind: TokenKind::End, span: Span::new(at, at) });
    Tokens { tokens, comments }
}

/// The token at the start of a rest of text, none for a comment, and its length in bytes.
fn longest_token(rest: &str, first: char) -> (Option<TokenKind>, usize) {
    // Nothing else that begins with a slash is longer than the slash.
    if let length @ 1.. = comment_length(rest) {
        return (None, length);
    }
    let mut best = (TokenKind::Unknown, 0);
    let mut offer = |kind, length| {
        if length > best.1 {
            best = (kind, length);
        }
    };
    // Each rule is asked only where its first character stands.
    match first {
        '"' | '\'' => {
            let (length, closed) = string_length(rest, first);
            if closed {
                offer(TokenKind::Text, length);
            }
            // The open string is always one rule of its own: without its closing quote it may still be the longest.
            offer(TokenKind::UnterminatedText, if closed { length - 1 } else { length });
        }
        '-' | '.' | '0'..='9' => offer_numbers(rest, &mut offer),
        'a'..='z' | 'A'..='Z' => {
            offer_words(rest, &mut offer);
            offer(TokenKind::Real, real_length(rest));
        }
        _ => {}
    }
    if let Some((symbol, kind)) =
        SYMBOLS.iter().find(|(symbol, _)| symbol.starts_with(first) && rest.starts_with(symbol))
    {
        offer(*kind, symbol.len());
    }
    let path = run(rest, is_path_character);
    if first == '$' && path > 1 {
        offer(TokenKind::SystemName, path);
    }
    offer(TokenKind::Name, rest[..path].find(['[', ']']).unwrap_or(path));
    offer(TokenKind::Path, path);
    (Some(best.0), best.1.max(first.len_utf8()))
}

fn offer_words(rest: &str, offer: &mut impl FnMut(TokenKind, usize)) {
    for (word, kind) in [
        ("select", TokenKind::Select),
        ("from", TokenKind::From),
        ("where", TokenKind::Where),
        ("into", TokenKind::Into),
        ("and", TokenKind::And),
        ("or", TokenKind::Or),
        ("not", TokenKind::Not),
    ] {
        offer(kind, word_length(rest, word));
    }
    for (word, kind) in [
        ("true", TokenKind::True),
        ("false", TokenKind::False),
        ("null", TokenKind::Null),
        ("undefined", TokenKind::Undefined),
    ] {
        offer(kind, if rest.starts_with(word) { word.len() } else { 0 });
    }
}

fn offer_numbers(rest: &str, offer: &mut impl FnMut(TokenKind, usize)) {
    offer(TokenKind::Integer, integer_length(rest));
    offer(TokenKind::Hexadecimal, hexadecimal_length(rest));
    offer(TokenKind::Real, real_length(rest));
}

/// Longer ones before those that they begin with.
const SYMBOLS: [(&str, TokenKind); 19] = [
    ("!=", TokenKind::NotEqual),
    ("<>", TokenKind::NotEqual),
    ("<=", TokenKind::LessOrEqual),
    (">=", TokenKind::GreaterOrEqual),
    ("||", TokenKind::Concat),
    ("??", TokenKind::Coalesce),
    ("(", TokenKind::OpenParenthesis),
    (")", TokenKind::CloseParenthesis),
    (",", TokenKind::Comma),
    ("+", TokenKind::Plus),
    ("-", TokenKind::Minus),
    ("*", TokenKind::Star),
    ("/", TokenKind::Slash),
    ("%", TokenKind::Percent),
    ("=", TokenKind::Equal),
    ("<", TokenKind::Less),
    (">", TokenKind::Greater),
    ("{", TokenKind::OpenBrace),
    ("}", TokenKind::CloseBrace),
];

fn is_path_character(c: char) -> bool {
    !matches!(
        c,
        '(' | ')'
            | '<'
            | '>'
            | '@'
            | ','
            | ';'
            | ':'
            | '\\'
            | '"'
            | '/'
            | '?'
            | '='
            | '{'
            | '}'
            | ' '
            | '\t'
            | '\n'
            | '\r'
    )
}

fn run(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

fn word_length(rest: &str, word: &str) -> usize {
    let is_it = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if is_it { word.len() } else { 0 }
}

/// A comment ends at its first `*/`; without one it is none.
fn comment_length(rest: &str) -> usize {
    rest.strip_prefix("/*").and_then(|inner| inner.find("*/")).map_or(0, |end| end + 4)
}

/// Length of the string at the start, and whether it is closed. A backslash that escapes nothing ends it open.
fn string_length(rest: &str, quote: char) -> (usize, bool) {
    let mut at = 1;
    while let Some(c) = rest[at..].chars().next() {
        if c == quote {
            return (at + 1, true);
        }
        if c == '\\' {
            let Some(length) = escape_length(&rest[at..]) else { break };
            at += length;
        } else {
            at += c.len_utf8();
        }
    }
    (at, false)
}

fn escape_length(rest: &str) -> Option<usize> {
    match rest.as_bytes().get(1)? {
        b'"' | b'\'' | b'\\' => Some(2),
        b'u' if rest.len() >= 6 && rest.as_bytes()[2..6].iter().all(u8::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

fn digits(rest: &str) -> usize {
    run(rest, |c| c.is_ascii_digit())
}

fn integer_length(rest: &str) -> usize {
    let sign = usize::from(rest.starts_with('-'));
    match digits(&rest[sign..]) {
        0 => 0,
        length => sign + length,
    }
}

fn hexadecimal_length(rest: &str) -> usize {
    if word_length(rest, "0x") == 0 {
        return 0;
    }
    match run(&rest[2..], |c| c.is_ascii_hexdigit()) {
        0 => 0,
        length => length + 2,
    }
}

fn real_length(rest: &str) -> usize {
    let sign = usize::from(rest.starts_with('-'));
    let mut at = sign + digits(&rest[sign..]);
    let mut is_real = false;
    if rest[at..].starts_with('.') {
        let fraction = digits(&rest[at + 1..]);
        if fraction == 0 {
            return 0;
        }
        at += 1 + fraction;
        is_real = true;
    }
    match exponent_length(&rest[at..]) {
        0 if is_real => at,
        0 => 0,
        length => at + length,
    }
}

fn exponent_length(rest: &str) -> usize {
    if word_length(rest, "e") == 0 {
        return 0;
    }
    let sign = usize::from(rest[1..].starts_with(['+', '-']));
    match digits(&rest[1 + sign..]) {
        0 => 0,
        length => 1 + sign + length,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        let mut kinds: Vec<_> = split(text).tokens.iter().map(|token| token.kind).collect();
        assert_eq!(kinds.pop(), Some(TokenKind::End));
        kinds
    }

    #[test]
    fn the_longest_match_wins() {
        use TokenKind::{
            And, Concat, Hexadecimal, Integer, Minus, Name, NotEqual, Path, Real, SystemName, Text, Unknown,
            UnterminatedText,
        };
        for (text, expected) in [
            ("a+b", vec![Name]),
            ("x-1", vec![Name]),
            ("-1", vec![Integer]),
            ("- 1", vec![Minus, Integer]),
            ("1a", vec![Name]),
            ("1e5", vec![Real]),
            ("e5", vec![Real]),
            (".5", vec![Real]),
            ("5.", vec![Name]),
            ("0x1F", vec![Hexadecimal]),
            ("a[0]", vec![Path]),
            ("$a[0]", vec![SystemName]),
            ("$", vec![Name]),
            ("'it''s'", vec![Name]),
            ("'a b'c", vec![Text, Name]),
            ("'a", vec![UnterminatedText]),
            (r"'a\q'", vec![UnterminatedText, Unknown, Name]),
            (r"'it\'s'", vec![Text]),
            ("AND", vec![And]),
            ("android", vec![Name]),
            ("||", vec![Concat]),
            ("||b", vec![Name]),
            ("!=", vec![NotEqual]),
            ("NULL", vec![Name]),
            ("?", vec![Unknown]),
            ("&&", vec![Name]),
        ] {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_comment_may_begin_in_a_source() {
        let lexed = split("FROM /messages/* WHERE x /* note */ INTO $upstream");
        assert_eq!(lexed.comments, [Span::new(14, 35)]);
        assert_eq!(lexed.tokens.len(), 6);
        assert!(split("FROM /messages/* INTO $upstream").comments.is_empty());
    }

    proptest! {
        #[test]
        fn tokens_lie_in_the_text_in_order(text in "\\PC{0,60}|[ -~]{0,60}") {
            let lexed = split(&text);
            let mut at = 0;
            for token in &lexed.tokens {
                prop_assert!(token.span.start >= at && token.span.end <= text.len());
                prop_assert!(token.span.end > token.span.start || token.kind == TokenKind::End);
                at = token.span.end;
            }
        }
    }
}
