//! What a hub accepts without a word although it hardly does what its author meant.

use crate::route::condition::expression::{Expression, ExpressionKind, Literal};
use crate::route::condition::function::Function;
use crate::route::condition::types::StaticType;
use crate::route::error::{Finding, Severity, Span};
use crate::route::parser::Route;

/// A way to be silently wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrapKind {
    /// A star that is not the last item of the source.
    #[error("a `*` in the middle of a source is an ordinary character: no message ever comes from `{0}`")]
    StarInSource(String),
    /// A star behind other characters of the last item.
    #[error("`{0}` does not mean all names that begin like this: the star is dropped and only the rest matches")]
    StarInName(String),
    /// A source that no message has.
    #[error("no message ever comes from `{0}`")]
    UnknownSource(String),
    /// A comment that begins inside the source.
    #[error("`/*` begins a comment here, which swallows everything up to `*/`")]
    CommentInSource,
    /// A comment with words of the language in it.
    #[error("this comment hides a part of the route")]
    CommentHidesClause,
    /// Text behind the sink.
    #[error("nothing behind the sink is looked at")]
    IgnoredTail,
    /// The words between the parts of a sink's address are others than `modules` and `inputs`.
    #[error("the address is read as module `{module}` and input `{input}`, whatever the other words are")]
    AddressWords {
        /// The module that it names.
        module: String,
        /// The input that it names.
        input: String,
    },
    /// An address without a module or an input.
    #[error("the address names no {0}")]
    AddressGap(&'static str),
    /// A condition whose type no message can make true.
    #[error("the condition is a {0}, which is never true, so that this routes nothing")]
    NeverTrue(StaticType),
    /// Operators that became part of a name.
    #[error("`{0}` is one property name, operators and quotes included")]
    OperatorInName(String),
    /// A word like `null` in another case.
    #[error("`{0}` is a property name here: true, false, null and undefined are words in lower case only")]
    WordCase(String),
    /// Letters and digits that are read as a number, and then as none.
    #[error("`{0}` is read as a number without digits, which is undefined, and not as a property")]
    ExponentName(String),
    /// `$body` without a path.
    #[error("`$body` alone is a system property, which is never there")]
    BareBody,
    /// A body query, which asks for more than a body.
    #[error(
        "`$body` is undefined unless the message has content type application/json and content encoding utf-8, utf-16 or utf-32"
    )]
    BodyNeedsContentType,
    /// `is_null` on a value of the body.
    #[error("`is_null` of a value of the body is true for every message that has a JSON body")]
    IsNullOnBody,
}

/// A trap and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// Where in the text of the route.
    pub span: Span,
    /// Which.
    pub kind: TrapKind,
}

/// The traps in a route that was read, in the order of its text. The type is that of its compiled condition.
pub fn find(text: &str, route: &Route, kind: Option<StaticType>) -> Vec<Trap> {
    let mut traps = Vec::new();
    let mut note = |span, kind| traps.push(Trap { span, kind });
    source_traps(text, route, &mut note);
    for comment in &route.comments {
        if let Some(kind) = comment_trap(text, route, *comment) {
            note(*comment, kind);
        }
    }
    if let Some(condition) = &route.condition {
        if let Some(kind) = kind.filter(|kind| !matches!(kind, StaticType::Bool | StaticType::Query)) {
            note(condition.span, TrapKind::NeverTrue(kind));
        }
        condition_traps(text, condition, &mut note);
    }
    address_traps(text, route, &mut note);
    if let Some(tail) = route.tail {
        note(tail, TrapKind::IgnoredTail);
    }
    traps.sort_by_key(|trap| trap.span.start);
    traps
}

impl Trap {
    /// What to write instead, where that can be known.
    pub fn advice(&self) -> Option<String> {
        let advice = match &self.kind {
            TrapKind::StarInSource(_) | TrapKind::StarInName(_) => {
                "a source matches all that begins with it: stop before the star, or write one route for each name"
            }
            TrapKind::UnknownSource(_) => {
                "sources are /messages, /messages/modules/{module}, /messages/modules/{module}/outputs/{output} and \
                 /twinChangeNotifications"
            }
            TrapKind::CommentInSource => "leave `/*` at the end of the source out: it matches the same without",
            TrapKind::CommentHidesClause => "move the comment or take it out",
            TrapKind::IgnoredTail => "write another route for another sink, and WHERE before INTO",
            TrapKind::AddressWords { .. } => "write /modules/{module}/inputs/{input}",
            TrapKind::NeverTrue(_) => "compare it with something",
            TrapKind::OperatorInName(_) => "put blanks around operators, and `\\'` for a quote in a string",
            TrapKind::BareBody => "name what to look at: `$body.temperature`",
            TrapKind::IsNullOnBody => "write `= null`, which is true where the body has nothing too",
            TrapKind::WordCase(_) => "write it in lower case",
            TrapKind::AddressGap(_) | TrapKind::ExponentName(_) | TrapKind::BodyNeedsContentType => return None,
        };
        Some(advice.to_owned())
    }

    /// A short name that does not change.
    pub fn code(&self) -> &'static str {
        match self.kind {
            TrapKind::StarInSource(_) | TrapKind::StarInName(_) => "route-star",
            TrapKind::UnknownSource(_) => "route-source",
            TrapKind::CommentInSource | TrapKind::CommentHidesClause => "route-comment",
            TrapKind::IgnoredTail => "route-tail",
            TrapKind::AddressWords { .. } | TrapKind::AddressGap(_) => "route-address",
            TrapKind::NeverTrue(_) => "route-never-true",
            TrapKind::OperatorInName(_) | TrapKind::WordCase(_) | TrapKind::ExponentName(_) => "route-name",
            TrapKind::BareBody | TrapKind::BodyNeedsContentType | TrapKind::IsNullOnBody => "route-body",
        }
    }
}

impl From<Trap> for Finding {
    fn from(trap: Trap) -> Self {
        Self {
            severity: Severity::Warning,
            code: trap.code(),
            span: trap.span,
            message: trap.kind.to_string(),
            advice: trap.advice(),
        }
    }
}

fn source_traps(text: &str, route: &Route, note: &mut impl FnMut(Span, TrapKind)) {
    let written = route.source.span.of(text);
    if route.source.pattern.prefix().contains('*') {
        note(route.source.span, TrapKind::StarInSource(written.into()));
    } else if !route.source.pattern.can_match() {
        note(route.source.span, TrapKind::UnknownSource(written.into()));
    } else if let Some(last) = written.rsplit('/').next().map(str::trim)
        && last.ends_with('*')
        && !last.trim_end_matches('*').is_empty()
    {
        let end = route.source.span.end;
        note(Span::new(end - last.len(), end), TrapKind::StarInName(last.into()));
    }
}

/// A comment that is more than a note: one that touches the source, or one with words of the language in it.
fn comment_trap(text: &str, route: &Route, comment: Span) -> Option<TrapKind> {
    let source = route.source.span;
    let touches_source = comment.start <= source.end && comment.end > source.start;
    if touches_source && comment.start > 0 && !text[..comment.start].ends_with(char::is_whitespace) {
        return Some(TrapKind::CommentInSource);
    }
    let hides = comment
        .of(text)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| ["where", "into", "from"].iter().any(|keyword| word == keyword.to_uppercase()));
    hides.then_some(TrapKind::CommentHidesClause)
}

fn condition_traps(text: &str, condition: &Expression, note: &mut impl FnMut(Span, TrapKind)) {
    let mut has_query = false;
    condition.visit(&mut |expression| match &expression.kind {
        ExpressionKind::Property(name) => {
            if let Some(kind) = name_trap(name) {
                note(expression.span, kind);
            }
        }
        ExpressionKind::SystemProperty(name) | ExpressionKind::EscapedSystemProperty(name) => {
            if name.eq_ignore_ascii_case("$body") {
                note(expression.span, TrapKind::BareBody);
            } else if has_operator(name) {
                note(expression.span, TrapKind::OperatorInName(name.to_string()));
            } else if is_body_query(name) && !has_query {
                has_query = true;
                note(expression.span, TrapKind::BodyNeedsContentType);
            }
        }
        ExpressionKind::Literal(Literal::Undefined) if expression.span.of(text) != "undefined" => {
            note(expression.span, TrapKind::ExponentName(expression.span.of(text).into()));
        }
        ExpressionKind::Call { name, arguments } if Function::named(name.of(text)) == Some(Function::IsNull) => {
            let asks_body = arguments.iter().any(|argument| match &argument.kind {
                ExpressionKind::SystemProperty(name) | ExpressionKind::EscapedSystemProperty(name) => {
                    is_body_query(name)
                }
                _ => false,
            });
            if asks_body {
                note(expression.span, TrapKind::IsNullOnBody);
            }
        }
        _ => {}
    });
}

fn name_trap(name: &str) -> Option<TrapKind> {
    if has_operator(name) {
        return Some(TrapKind::OperatorInName(name.into()));
    }
    let is_word = ["true", "false", "null", "undefined"].iter().any(|word| name.eq_ignore_ascii_case(word));
    is_word.then(|| TrapKind::WordCase(name.into()))
}

fn has_operator(name: &str) -> bool {
    // A hyphen is part of many a good name, but not at its start or behind a number.
    let is_minus = name.split_once('-').is_some_and(|(before, _)| before.is_empty() || before.parse::<f64>().is_ok());
    is_minus || name.contains(['+', '*', '%', '|', '&', '!', '\''])
}

fn is_body_query(name: &str) -> bool {
    name.get(.."$body.".len()).is_some_and(|start| start.eq_ignore_ascii_case("$body."))
}

fn address_traps(text: &str, route: &Route, note: &mut impl FnMut(Span, TrapKind)) {
    let Some(span) = route.sink.address else { return };
    let address = span.of(text).trim_matches(['"', '\'']).trim();
    let parts: Vec<&str> = address.strip_prefix('/').unwrap_or(address).split('/').collect();
    let [modules, module, inputs, input, ..] = parts.as_slice() else { return };
    if *modules != "modules" || *inputs != "inputs" {
        note(span, TrapKind::AddressWords { module: (*module).into(), input: (*input).into() });
    }
    for (part, name) in [(module, "module"), (input, "input")] {
        if part.trim().is_empty() {
            note(span, TrapKind::AddressGap(name));
        }
    }
}
