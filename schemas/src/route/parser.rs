//! Tokens to a route.
//!
//! ```text
//! route  := [ "SELECT" "*" ] "FROM" source [ "WHERE" condition ] "INTO" sink
//! source := ( "/" ( "*" | name ) )+
//! sink   := $name | name "(" string ")"
//! ```
//!
//! What follows a complete sink is not looked at.

use crate::route::body::paths::BodyPaths;
use crate::route::condition::compile::Condition;
use crate::route::condition::expression::Expression;
use crate::route::error::{Problem, RouteError, Span};
use crate::route::lexer::{self, Token, TokenKind};
use crate::route::sink::{Endpoint, Sink};
use crate::route::source::{Source, SourcePattern};

/// A route, its condition not yet compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Where messages come from.
    pub source: Source,
    /// Which of them; all without it.
    pub condition: Option<Expression>,
    /// Where they go.
    pub sink: Sink,
    /// Text behind the sink, which means nothing.
    pub tail: Option<Span>,
    /// The comments.
    pub comments: Vec<Span>,
}

impl Route {
    /// Reads a route. Stops at the first thing that the grammar or the sink does not allow.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let lexed = lexer::split(text);
        let mut parser = Parser::new(text, &lexed.tokens);
        if parser.peek().kind == TokenKind::End {
            return Err(RouteError::new(parser.peek().span, Problem::Empty));
        }
        if parser.take(TokenKind::Select).is_some() {
            parser.expect(TokenKind::Star, "`*`")?;
        }
        parser.expect(TokenKind::From, "`FROM`")?;
        let source = parser.source()?;
        let condition = match parser.take(TokenKind::Where) {
            Some(_) => Some(parser.condition()?),
            None => None,
        };
        parser.expect(TokenKind::Into, if condition.is_some() { "`INTO`" } else { "`WHERE` or `INTO`" })?;
        let sink = parser.sink()?;
        let tail = parser.tail();
        Ok(Self { source, condition, sink, tail, comments: lexed.comments })
    }

    /// Compiles its condition; what that needs of the body is added to the paths. The text is that of the route.
    pub fn compile_condition(&self, text: &str, paths: &mut BodyPaths) -> Result<Condition, Vec<RouteError>> {
        match &self.condition {
            Some(condition) => Condition::compile(text, Some(condition), paths),
            None => Ok(Condition::always()),
        }
    }

    /// The text of the condition, `true` without one.
    pub fn condition_text<'t>(&self, text: &'t str) -> &'t str {
        self.condition.as_ref().map_or("true", |condition| condition.span.of(text))
    }
}

/// Reads a condition that stands alone; none when there is no token. Text behind it means nothing.
pub fn parse_condition(text: &str) -> Result<Option<Expression>, RouteError> {
    let lexed = lexer::split(text);
    let mut parser = Parser::new(text, &lexed.tokens);
    if parser.peek().kind == TokenKind::End {
        return Ok(None);
    }
    parser.condition().map(Some)
}

/// A walk over the tokens of a text.
pub(in crate::route) struct Parser<'t> {
    /// The text.
    pub(in crate::route) text: &'t str,
    tokens: &'t [Token],
    at: usize,
    /// Parentheses that are open here and will be closed.
    pub(in crate::route) open: usize,
    /// How deep the walk is in expressions.
    pub(in crate::route) depth: usize,
    /// For each token whether it opens a parenthesis that nothing closes.
    pub(in crate::route) unclosed: Vec<bool>,
}

impl<'t> Parser<'t> {
    /// Starts at the first token. The tokens end in [`TokenKind::End`].
    fn new(text: &'t str, tokens: &'t [Token]) -> Self {
        Self { text, tokens, at: 0, open: 0, depth: 0, unclosed: Vec::new() }
    }

    /// The next token.
    pub(in crate::route) fn peek(&self) -> Token {
        self.peek_behind(0)
    }

    /// The token that many behind the next.
    pub(in crate::route) fn peek_behind(&self, count: usize) -> Token {
        let end = Token { kind: TokenKind::End, span: Span::new(self.text.len(), self.text.len()) };
        self.tokens.get(self.at + count).or(self.tokens.last()).copied().unwrap_or(end)
    }

    /// Which token is next, counted from 0.
    pub(in crate::route) fn index(&self) -> usize {
        self.at
    }

    /// The tokens from the next on.
    pub(in crate::route) fn rest(&self) -> &'t [Token] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    /// Goes past the next token.
    pub(in crate::route) fn advance(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Goes past the next token if it is of that kind.
    pub(in crate::route) fn take(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.advance())
    }

    /// Goes past the next token, which must be of that kind.
    pub(in crate::route) fn expect(&mut self, kind: TokenKind, name: &str) -> Result<Token, RouteError> {
        self.take(kind).ok_or_else(|| self.unexpected(name))
    }

    /// The error of the next token, where something else should be.
    pub(in crate::route) fn unexpected(&self, expected: &str) -> RouteError {
        let token = self.peek();
        let found = token.span.of(self.text);
        let previous = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map(|token| token.kind);
        let advice = match (token.kind, previous) {
            (TokenKind::Equal, Some(TokenKind::Equal)) => "equality is a single `=`".to_owned(),
            (TokenKind::Path, _) => format!("`{found}`: brackets belong to `$body` paths alone, as in `$body.list[0]`"),
            (TokenKind::Name, _) if is_foreign_word(found) => {
                format!("`{found}` is not a word of this language; it has AND, OR, NOT and functions such as is_null")
            }
            (TokenKind::End, _) => format!("{expected} is missing at the end"),
            _ => format!("expected {expected}, found `{found}`"),
        };
        RouteError::new(token.span, Problem::Syntax).with_advice(Some(advice))
    }

    fn source(&mut self) -> Result<Source, RouteError> {
        let start = self.peek().span;
        let mut path = String::new();
        let mut last = start;
        while path.is_empty() || self.peek().kind == TokenKind::Slash {
            self.expect(TokenKind::Slash, "a source, which begins with `/`")?;
            let item = match self.take(TokenKind::Star) {
                Some(star) => star,
                None => self.take(TokenKind::Name).ok_or_else(|| self.bad_source_item())?,
            };
            path.push('/');
            path.push_str(item.span.of(self.text));
            last = item.span;
        }
        Ok(Source { pattern: SourcePattern::new(&path), span: start.to(last) })
    }

    fn bad_source_item(&self) -> RouteError {
        let found = self.peek().span.of(self.text);
        let advice = match self.peek().kind {
            TokenKind::Into | TokenKind::Where
                if !matches!(self.peek_behind(1).kind, TokenKind::Slash | TokenKind::Into | TokenKind::Where) =>
            {
                "a source may not end in `/`: leave the slash out or write `/*`".to_owned()
            }
            TokenKind::SystemName => format!("`{found}` cannot be part of a source"),
            TokenKind::End => "the source is not complete".to_owned(),
            _ => format!("`{found}` is a word or a number of the language, so it cannot be part of a source"),
        };
        RouteError::new(self.peek().span, Problem::Syntax).with_advice(Some(advice))
    }

    fn sink(&mut self) -> Result<Sink, RouteError> {
        if let Some(system) = self.take(TokenKind::SystemName) {
            let endpoint = Endpoint::system(system.span.of(self.text)).map_err(|problem| {
                RouteError::new(system.span, problem).with_advice(Some("the only one is `$upstream`".into()))
            })?;
            return Ok(Sink { endpoint, span: system.span, address: None });
        }
        let name = self.expect(TokenKind::Name, "`$upstream` or `BrokeredEndpoint(\"/modules/…/inputs/…\")`")?;
        self.expect(TokenKind::OpenParenthesis, "`(`")?;
        let address = self.expect(TokenKind::Text, "a string in quotes")?;
        let close = self.expect(TokenKind::CloseParenthesis, "`)`")?;
        let unquoted = Span::new(address.span.start + 1, address.span.end - 1);
        let endpoint =
            Endpoint::function(name.span.of(self.text), unquoted.of(self.text)).map_err(|problem| match problem {
                Problem::FunctionEndpoint(_) => {
                    RouteError::new(name.span, problem).with_advice(Some("the only one is `BrokeredEndpoint`".into()))
                }
                _ => RouteError::new(address.span, problem),
            })?;
        Ok(Sink { endpoint, span: name.span.to(close.span), address: Some(address.span) })
    }

    fn tail(&self) -> Option<Span> {
        let mut rest = self.rest().iter().filter(|token| token.kind != TokenKind::End).map(|token| token.span);
        let first = rest.next()?;
        Some(first.to(rest.next_back().unwrap_or(first)))
    }
}

/// Words of other languages that authors try.
fn is_foreign_word(word: &str) -> bool {
    ["is", "in", "like", "between", "&&", "!", "mod", "as"].iter().any(|foreign| word.eq_ignore_ascii_case(foreign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_three_parts() {
        let text = "select * from /messages/ * where a = 'b' into BrokeredEndpoint('/modules/m/inputs/i') and more";
        let route = Route::parse(text).unwrap();
        assert_eq!(route.source.pattern.prefix(), "/messages/");
        assert_eq!(route.condition_text(text), "a = 'b'");
        assert_eq!(route.sink.endpoint.to_string(), "BrokeredEndpoint(\"/modules/m/inputs/i\")");
        assert_eq!(route.tail.map(|tail| tail.of(text)), Some("and more"));
    }

    #[test]
    fn errors_have_places() {
        for (text, place) in [
            ("", ""),
            ("FORM /messages INTO $upstream", "FORM"),
            ("FROM /messages/ INTO $upstream", "INTO"),
            ("FROM /messages/modules/null INTO $upstream", "null"),
            ("FROM /messages WHERE a == 'b' INTO $upstream", "= 'b'"),
            ("FROM /messages INTO $cloud", "$cloud"),
            ("FROM /messages INTO Endpoint('/modules/m/inputs/i')", "Endpoint"),
            ("FROM /messages INTO BrokeredEndpoint('/modules/m')", "'/modules/m'"),
            ("FROM /messages INTO", ""),
        ] {
            let error = Route::parse(text).unwrap_err();
            assert!(place.starts_with(error.span.of(text)), "{text}: {error:?}");
            assert_eq!(place.is_empty(), error.span.of(text).is_empty(), "{text}: {error:?}");
        }
    }
}
