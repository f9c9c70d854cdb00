//! Paths into a body: `a.b[0].c`.
//!
//! A path is checked when a route is compiled and followed for each message, in the real hub by two different
//! readers. The check stops where its grammar is satisfied, so a little more passes than can be followed; what
//! cannot be followed is undefined.

/// A step down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the value of a name in an object.
    Name(Box<str>),
    /// To an element of an array, from 0.
    Index(u32),
}

/// A path that passes the check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BodyPath {
    /// The steps; none if the path cannot be followed.
    pub steps: Option<Vec<Step>>,
}

/// Why a text is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Syntax error at column {column}.")]
pub struct InvalidPath {
    /// Where in the path, in characters from 1.
    pub column: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Number,
    Name,
    Point,
    Open,
    Close,
}

impl BodyPath {
    /// Reads the text behind `$body.`.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        check(text)?;
        Ok(Self { steps: follow(text) })
    }
}

/// `item ("." item)*` with `item := name [ "[" digits "]" ]`, whatever follows.
fn check(text: &str) -> Result<(), InvalidPath> {
    let tokens = tokens(text);
    let mut at = 0;
    let column =
        |at: usize| InvalidPath { column: tokens.get(at).map_or(text.chars().count(), |(_, start)| *start) + 1 };
    let kind = |at: usize| tokens.get(at).map(|(kind, _)| *kind);
    let expect = |at: &mut usize, expected| {
        if kind(*at) == Some(expected) {
            *at += 1;
            Ok(())
        } else {
            Err(column(*at))
        }
    };
    loop {
        expect(&mut at, Token::Name)?;
        if kind(at) == Some(Token::Open) {
            at += 1;
            expect(&mut at, Token::Number)?;
            expect(&mut at, Token::Close)?;
        }
        if kind(at) != Some(Token::Point) {
            return Ok(());
        }
        at += 1;
    }
}

/// Tokens and where they start, in characters. Digits alone are a number; characters of no token are left out.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = characters.get(at) {
        let start = at;
        at += 1;
        let token = match first {
            '.' => Token::Point,
            '[' => Token::Open,
            ']' => Token::Close,
            c if is_name_character(*c) => {
                while characters.get(at).is_some_and(|c| is_name_character(*c)) {
                    at += 1;
                }
                let is_number = characters[start..at].iter().all(char::is_ascii_digit);
                if is_number { Token::Number } else { Token::Name }
            }
            _ => continue,
        };
        tokens.push((token, start));
    }
    tokens
}

fn is_name_character(c: char) -> bool {
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
            | '['
            | ']'
            | '?'
            | '='
            | '{'
            | '}'
            | '.'
            | '\t'
            | '\n'
            | '\r'
    )
}

/// The steps of a path. A `$` at its start stands for the body itself.
fn follow(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for (position, item) in text.split('.').enumerate() {
        let (name, mut indices) = item.split_at(item.find('[').unwrap_or(item.len()));
        if name.is_empty() || name.contains(']') {
            return None;
        }
        if !(position == 0 && name == "$") {
            steps.push(Step::Name(name.into()));
        }
        while let Some(inner) = indices.strip_prefix('[') {
            let (digits, behind) = inner.split_once(']')?;
            let index = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<i32>().ok())??;
            steps.push(Step::Index(index.unsigned_abs()));
            indices = behind;
        }
        if !indices.is_empty() {
            return None;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked_and_followed() {
        let name = |name: &str| Step::Name(name.into());
        for (text, expected) in [
            ("a.b", Ok(Some(vec![name("a"), name("b")]))),
            ("a[0].b", Ok(Some(vec![name("a"), Step::Index(0), name("b")]))),
            ("a[0][1]", Ok(Some(vec![name("a"), Step::Index(0), Step::Index(1)]))),
            ("1a", Ok(Some(vec![name("1a")]))),
            ("$.a", Ok(Some(vec![name("a")]))),
            ("$version", Ok(Some(vec![name("$version")]))),
            ("a[99999999999]", Ok(None)),
            ("a]", Ok(None)),
            ("", Err(1)),
            ("1", Err(1)),
            ("a.", Err(3)),
            ("a[", Err(3)),
            ("a[-1]", Err(3)),
            ("a['b']", Err(3)),
            ("a[1", Err(4)),
            ("a.[1]", Err(3)),
            ("a..b", Err(3)),
        ] {
            let expected = expected.map(|steps| BodyPath { steps }).map_err(|column| InvalidPath { column });
            assert_eq!(BodyPath::parse(text), expected, "{text}");
        }
    }
}
