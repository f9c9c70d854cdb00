//! What can be wrong with a route, and where.

use std::fmt;

/// A piece of a text, in bytes, its end exclusive. Empty at the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte behind it.
    pub end: usize,
}

/// A place in a text as people count: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl Span {
    /// From the first byte to the one behind the last.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this to the end of another.
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// The text that it covers; empty when it does not fit the text.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    /// First place, and the place behind the last, on the line where it starts. Never empty: the end of the
    /// text is shown as one column behind the last, as the hub's own compiler does.
    pub fn positions(self, text: &str) -> (Position, Position) {
        let before = text.get(..self.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        let line_length =
            text[line_start..].split('\n').next().map_or(0, |line| line.trim_end_matches('\r').chars().count());
        let length = self.of(text).chars().count().max(1);
        let end = (column + length).min(line_length + 2).max(column + 1);
        (Position { line, column }, Position { line, column: end })
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works, but hardly as meant.
    Warning,
    /// The hub refuses it, and with it the whole configuration that it stands in.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Why the hub refuses a route. Those of a condition read as the hub's own compiler words them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A token stands where the grammar has no place for it.
    #[error("Syntax error.")]
    Syntax,
    /// A character that begins no token.
    #[error("Syntax error: invalid symbol '{0}'")]
    InvalidSymbol(Box<str>),
    /// A parenthesis closes what nobody opened.
    #[error("Syntax error: unmatched closing ')'")]
    UnmatchedParenthesis,
    /// A parenthesis is never closed.
    #[error("Syntax error: missing closing ')'")]
    MissingParenthesis,
    /// A string that the text or a wrong escape ends.
    #[error("Syntax error: unterminated string")]
    UnterminatedString,
    /// An operator got types that it does not take.
    #[error("Invalid operands to {arity} operator '{operator}': have {have}, expected {expected}")]
    Operands {
        /// `unary` or `binary`.
        arity: &'static str,
        /// The operator as written.
        operator: Box<str>,
        /// The types that it got.
        have: Box<str>,
        /// The types that it takes.
        expected: Box<str>,
    },
    /// A function got arguments that it does not take.
    #[error("Invalid arguments to built-in function '{function}': {function}({arguments}){detail}")]
    Arguments {
        /// The function as written.
        function: Box<str>,
        /// The types of the arguments.
        arguments: Box<str>,
        /// More, with the words that lead to it; mostly empty.
        detail: Box<str>,
    },
    /// No function has this name.
    #[error("Invalid built-in function '{0}'")]
    UnknownFunction(Box<str>),
    /// Expressions in expressions beyond a limit in
    /// [`expression`](crate::route::condition::expression).
    #[error("the condition is nested more than {0} levels deep")]
    TooDeep(usize),
    /// The text has no route.
    #[error("the route is empty")]
    Empty,
    /// A system endpoint other than `$upstream`.
    #[error("System endpoint type '{0}' not supported.")]
    SystemEndpoint(Box<str>),
    /// A function endpoint other than `BrokeredEndpoint`.
    #[error("Function endpoint type '{0}' not supported.")]
    FunctionEndpoint(Box<str>),
    /// The string of a sink does not name a module and an input.
    #[error("the address '{0}' of the endpoint is not of the form /modules/{{module}}/inputs/{{input}}")]
    EndpointAddress(Box<str>),
}

impl Problem {
    /// A short name that does not change, for filters and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax
            | Self::InvalidSymbol(_)
            | Self::UnmatchedParenthesis
            | Self::MissingParenthesis
            | Self::UnterminatedString => "route-syntax",
            Self::Operands { .. } => "route-operands",
            Self::Arguments { .. } => "route-arguments",
            Self::UnknownFunction(_) => "route-function",
            Self::TooDeep(_) => "route-depth",
            Self::Empty => "route-empty",
            Self::SystemEndpoint(_) | Self::FunctionEndpoint(_) | Self::EndpointAddress(_) => "route-sink",
        }
    }
}

/// One reason to refuse a route, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct RouteError {
    /// Where in the text.
    pub span: Span,
    /// What.
    pub problem: Problem,
    /// What to write instead, when that can be known.
    pub advice: Option<String>,
}

impl RouteError {
    /// A problem at a place, without advice.
    pub fn new(span: Span, problem: Problem) -> Self {
        Self { span, problem, advice: None }
    }

    /// The same with advice.
    pub fn with_advice(mut self, advice: Option<String>) -> Self {
        self.advice = advice;
        self
    }
}

/// Something to tell the author of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// A short name that does not change.
    pub code: &'static str,
    /// Where in the text of the route.
    pub span: Span,
    /// What.
    pub message: String,
    /// What to write instead, when that can be known.
    pub advice: Option<String>,
}

impl From<RouteError> for Finding {
    fn from(error: RouteError) -> Self {
        Self {
            severity: Severity::Error,
            code: error.problem.code(),
            span: error.span,
            message: error.problem.to_string(),
            advice: error.advice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn places_count_from_one_and_end_behind_the_last() {
        assert_eq!(Span::new(2, 3).positions("3 + 4"), (place(1, 3), place(1, 4)));
        assert_eq!(Span::new(5, 5).positions("3 + 4"), (place(1, 6), place(1, 7)));
        assert_eq!(Span::new(5, 7).positions("ä =\n== 4"), (place(2, 1), place(2, 3)));
        assert_eq!(Span::new(0, 5).positions("'a\nb'"), (place(1, 1), place(1, 4)));
        assert_eq!(Span::new(0, 0).positions(""), (place(1, 1), place(1, 2)));
    }
}
