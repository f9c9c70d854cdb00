//! Tokens to the tree of a condition.
//!
//! From the tightest: `-` and `NOT`; `* / %`; `+ - ||`; `< <= > >=`; `= != <>`; `AND`; `OR`; `??`.
//! All with two operands take the left first. As in the hub's own grammar, a parenthesis too many or too few and a
//! character that begins nothing are taken into the tree, to be refused with a better message than a syntax error.

use crate::route::condition::expression::{
    Arithmetic, BinaryOperator, Comparison, Expression, ExpressionKind, Literal, MAX_HEIGHT, MAX_NESTING, UnaryOperator,
};
use crate::route::condition::number;
use crate::route::error::{Problem, RouteError, Span};
use crate::route::lexer::{Token, TokenKind};
use crate::route::parser::Parser;

/// How tightly `?? OR AND` and so on bind; unary operators bind tighter than all.
const UNARY: u8 = 8;

impl Parser<'_> {
    /// A condition from the next token on.
    pub(in crate::route) fn condition(&mut self) -> Result<Expression, RouteError> {
        self.unclosed = vec![false; self.index()];
        self.unclosed.extend(unclosed_parentheses(self.rest()));
        self.expression(0)
    }

    fn expression(&mut self, tightness: u8) -> Result<Expression, RouteError> {
        let mut left = self.operand()?;
        loop {
            let operator = self.peek();
            if operator.kind == TokenKind::Unknown && tightness == 0 {
                self.advance();
                let right = self.expression(1)?;
                let problem = Problem::InvalidSymbol(operator.span.of(self.text).into());
                let kind = ExpressionKind::Broken { problem, place: operator.span };
                left = node(kind, left.span.to(right.span), left.height.max(right.height))?;
                continue;
            }
            let Some((binary, binds)) = binary_operator(operator.kind).filter(|(_, binds)| *binds >= tightness.max(1))
            else {
                return Ok(left);
            };
            self.advance();
            let right = self.expression(binds + 1)?;
            let (span, height) = (left.span.to(right.span), left.height.max(right.height));
            let kind = ExpressionKind::Binary {
                operator: binary,
                place: operator.span,
                left: Box::new(left),
                right: Box::new(right),
            };
            left = node(kind, span, height)?;
        }
    }

    fn operand(&mut self) -> Result<Expression, RouteError> {
        if self.depth >= MAX_NESTING {
            return Err(RouteError::new(self.peek().span, Problem::TooDeep(MAX_NESTING)));
        }
        self.depth += 1;
        let operand = self.operand_unchecked();
        self.depth -= 1;
        operand
    }

    fn operand_unchecked(&mut self) -> Result<Expression, RouteError> {
        let token = self.peek();
        let kind = match token.kind {
            TokenKind::OpenParenthesis => return self.parenthesised(),
            TokenKind::OpenBrace => return self.escaped_system_property(),
            TokenKind::Minus => return self.unary(UnaryOperator::Negate),
            TokenKind::Not => return self.unary(UnaryOperator::Not),
            TokenKind::Unknown => return self.unknown(),
            TokenKind::Name if self.peek_behind(1).kind == TokenKind::OpenParenthesis => return self.call(),
            TokenKind::Name => ExpressionKind::Property(token.span.of(self.text).into()),
            TokenKind::SystemName => ExpressionKind::SystemProperty(token.span.of(self.text).into()),
            TokenKind::UnterminatedText => {
                ExpressionKind::Broken { problem: Problem::UnterminatedString, place: token.span }
            }
            _ => match literal(token, self.text) {
                Some(literal) => ExpressionKind::Literal(literal),
                None => return Err(self.unexpected("a value")),
            },
        };
        self.advance();
        node(kind, token.span, 0)
    }

    fn parenthesised(&mut self) -> Result<Expression, RouteError> {
        let is_unclosed = self.unclosed.get(self.index()).copied().unwrap_or_default();
        let open = self.advance().span;
        if is_unclosed {
            let inner = self.expression(0)?;
            let kind = ExpressionKind::Broken { problem: Problem::MissingParenthesis, place: open };
            return node(kind, open.to(inner.span), inner.height);
        }
        self.open += 1;
        let inner = self.expression(0)?;
        let close = self.expect(TokenKind::CloseParenthesis, "`)`")?.span;
        self.open -= 1;
        self.unmatched_parenthesis(Expression { span: open.to(close), ..inner })
    }

    fn call(&mut self) -> Result<Expression, RouteError> {
        let name = self.advance().span;
        self.advance();
        self.open += 1;
        let mut arguments = Vec::new();
        if self.peek().kind != TokenKind::CloseParenthesis {
            arguments.push(self.expression(0)?);
            while self.take(TokenKind::Comma).is_some() {
                arguments.push(self.expression(0)?);
            }
        }
        let close = self.expect(TokenKind::CloseParenthesis, "`,` or `)`")?.span;
        self.open -= 1;
        let height = arguments.iter().map(|argument| argument.height).max().unwrap_or_default();
        let call = node(ExpressionKind::Call { name, arguments }, name.to(close), height)?;
        self.unmatched_parenthesis(call)
    }

    /// A closing parenthesis behind one that closed, where none is open.
    fn unmatched_parenthesis(&mut self, closed: Expression) -> Result<Expression, RouteError> {
        if self.open > 0 {
            return Ok(closed);
        }
        let Some(extra) = self.take(TokenKind::CloseParenthesis) else { return Ok(closed) };
        let kind = ExpressionKind::Broken { problem: Problem::UnmatchedParenthesis, place: extra.span };
        node(kind, closed.span.to(extra.span), closed.height)
    }

    fn escaped_system_property(&mut self) -> Result<Expression, RouteError> {
        let open = self.advance().span;
        let name = self.expect(TokenKind::SystemName, "`$name`")?.span;
        let close = self.expect(TokenKind::CloseBrace, "`}`")?.span;
        node(ExpressionKind::EscapedSystemProperty(name.of(self.text).into()), open.to(close), 0)
    }

    fn unary(&mut self, operator: UnaryOperator) -> Result<Expression, RouteError> {
        let place = self.advance().span;
        let operand = self.expression(UNARY)?;
        let (span, height) = (place.to(operand.span), operand.height);
        node(ExpressionKind::Unary { operator, place, operand: Box::new(operand) }, span, height)
    }

    /// A character that begins nothing, with the expression behind it if there is one.
    fn unknown(&mut self) -> Result<Expression, RouteError> {
        let symbol = self.advance().span;
        let kind =
            ExpressionKind::Broken { problem: Problem::InvalidSymbol(symbol.of(self.text).into()), place: symbol };
        if !begins_operand(self.peek(), self.text) {
            return node(kind, symbol, 0);
        }
        let behind = self.expression(1)?;
        node(kind, symbol.to(behind.span), behind.height)
    }
}

fn node(kind: ExpressionKind, span: Span, height_below: usize) -> Result<Expression, RouteError> {
    let height = height_below + 1;
    if height > MAX_HEIGHT {
        return Err(RouteError::new(span, Problem::TooDeep(MAX_HEIGHT)));
    }
    Ok(Expression { kind, span, height })
}

fn begins_operand(token: Token, text: &str) -> bool {
    literal(token, text).is_some()
        || matches!(
            token.kind,
            TokenKind::OpenParenthesis
                | TokenKind::OpenBrace
                | TokenKind::Minus
                | TokenKind::Not
                | TokenKind::Unknown
                | TokenKind::Name
                | TokenKind::SystemName
                | TokenKind::UnterminatedText
        )
}

fn binary_operator(kind: TokenKind) -> Option<(BinaryOperator, u8)> {
    Some(match kind {
        TokenKind::Star => (BinaryOperator::Arithmetic(Arithmetic::Multiply), 7),
        TokenKind::Slash => (BinaryOperator::Arithmetic(Arithmetic::Divide), 7),
        TokenKind::Percent => (BinaryOperator::Arithmetic(Arithmetic::Remainder), 7),
        TokenKind::Plus => (BinaryOperator::Arithmetic(Arithmetic::Add), 6),
        TokenKind::Minus => (BinaryOperator::Arithmetic(Arithmetic::Subtract), 6),
        TokenKind::Concat => (BinaryOperator::Concat, 6),
        TokenKind::Less => (BinaryOperator::Compare(Comparison::Less), 5),
        TokenKind::LessOrEqual => (BinaryOperator::Compare(Comparison::LessOrEqual), 5),
        TokenKind::Greater => (BinaryOperator::Compare(Comparison::Greater), 5),
        TokenKind::GreaterOrEqual => (BinaryOperator::Compare(Comparison::GreaterOrEqual), 5),
        TokenKind::Equal => (BinaryOperator::Compare(Comparison::Equal), 4),
        TokenKind::NotEqual => (BinaryOperator::Compare(Comparison::NotEqual), 4),
        TokenKind::And => (BinaryOperator::And, 3),
        TokenKind::Or => (BinaryOperator::Or, 2),
        TokenKind::Coalesce => (BinaryOperator::Coalesce, 1),
        _ => return None,
    })
}

fn literal(token: Token, text: &str) -> Option<Literal> {
    let spelled = token.span.of(text);
    Some(match token.kind {
        TokenKind::True => Literal::Bool(true),
        TokenKind::False => Literal::Bool(false),
        TokenKind::Null => Literal::Null,
        TokenKind::Undefined => Literal::Undefined,
        TokenKind::Text => Literal::Text(unescaped(&spelled[1..spelled.len() - 1]).into()),
        TokenKind::Integer | TokenKind::Real => number::parse(spelled).map_or(Literal::Undefined, Literal::Number),
        TokenKind::Hexadecimal => number::parse_hexadecimal(&spelled[2..]).map_or(Literal::Undefined, Literal::Number),
        _ => return None,
    })
}

/// Resolves escapes in two passes, the code points before the quotes, because the hub does; it shows in `\\u0041`.
fn unescaped(inner: &str) -> String {
    let code_units: Vec<u16> = inner.encode_utf16().collect();
    let mut first = Vec::with_capacity(code_units.len());
    let mut rest = code_units.as_slice();
    while let [unit, behind @ ..] = rest {
        let code = code_point(rest);
        first.push(code.unwrap_or(*unit));
        rest = if code.is_some() { &rest[6..] } else { behind };
    }
    let mut second = Vec::with_capacity(first.len());
    let mut units = first.into_iter().peekable();
    while let Some(unit) = units.next() {
        let escaped = if unit == u16::from(b'\\') {
            units.next_if(|next| [b'"', b'\'', b'\\'].iter().any(|quote| *next == u16::from(*quote)))
        } else {
            None
        };
        second.push(escaped.unwrap_or(unit));
    }
    String::from_utf16_lossy(&second)
}

/// The code unit that `\uXXXX` at the start stands for.
fn code_point(units: &[u16]) -> Option<u16> {
    let [backslash, u, digits @ ..] = units else { return None };
    if *backslash != u16::from(b'\\') || (*u != u16::from(b'u') && *u != u16::from(b'U')) {
        return None;
    }
    let digits = String::from_utf16(digits.get(..4)?).ok()?;
    let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hexadecimal { u16::from_str_radix(&digits, 16).ok() } else { None }
}

/// For each token whether it opens a parenthesis that nothing closes.
///
/// Those of a call must be closed. Of the others the first come first: each counts as closed if enough closing
/// ones are left for it and for all that are open around it.
fn unclosed_parentheses(tokens: &[Token]) -> Vec<bool> {
    let end = tokens.iter().position(|token| token.kind == TokenKind::Into).unwrap_or(tokens.len());
    let is_call = |at: usize| at > 0 && tokens[at - 1].kind == TokenKind::Name;
    let (mut closers, mut calls) = (0_usize, 0_usize);
    for (at, token) in tokens[..end].iter().enumerate() {
        closers += usize::from(token.kind == TokenKind::CloseParenthesis);
        calls += usize::from(token.kind == TokenKind::OpenParenthesis && is_call(at));
    }
    let mut unclosed = vec![false; tokens.len()];
    let mut open = 0_usize;
    for (at, token) in tokens[..end].iter().enumerate() {
        match token.kind {
            TokenKind::CloseParenthesis => {
                closers -= 1;
                open = open.saturating_sub(1);
            }
            TokenKind::OpenParenthesis if is_call(at) => {
                calls -= 1;
                open += 1;
            }
            TokenKind::OpenParenthesis if closers > calls + open => open += 1,
            TokenKind::OpenParenthesis => unclosed[at] = true,
            _ => {}
        }
    }
    unclosed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::parser::parse_condition;

    /// The tree with all its parentheses.
    fn shown(text: &str) -> String {
        fn show(expression: &Expression, text: &str) -> String {
            match &expression.kind {
                ExpressionKind::Unary { place, operand, .. } => format!("({} {})", place.of(text), show(operand, text)),
                ExpressionKind::Binary { place, left, right, .. } => {
                    format!("({} {} {})", show(left, text), place.of(text), show(right, text))
                }
                ExpressionKind::Broken { problem, .. } => format!("<{problem}>"),
                _ => expression.span.of(text).to_owned(),
            }
        }
        parse_condition(text).unwrap().map_or(String::new(), |expression| show(&expression, text))
    }

    #[test]
    fn operators_bind_as_in_the_hub() {
        for (text, expected) in [
            ("a or b and c = d < e + f * - g", "(a or (b and (c = (d < (e + (f * (- g)))))))"),
            ("a - b - c", "((a - b) - c)"),
            ("not a = b", "((not a) = b)"),
            ("a ?? b or c ?? d", "((a ?? (b or c)) ?? d)"),
            ("a = b < c", "(a = (b < c))"),
            ("- not - a", "(- (not (- a)))"),
            ("", ""),
            ("a b", "a"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn parentheses_that_do_not_match_are_named() {
        for (text, place) in [("(1 + 2", 0), ("((1) + 2", 1), ("(1 + f(2)", 0), ("(1) + (2", 6)] {
            let mut found = None;
            parse_condition(text).unwrap().unwrap().visit(&mut |expression| {
                if let ExpressionKind::Broken { problem: Problem::MissingParenthesis, place } = &expression.kind {
                    found = Some(place.start);
                }
            });
            assert_eq!(found, Some(place), "{text}");
        }
        assert_eq!(shown("(1)) = 2"), "(<Syntax error: unmatched closing ')'> = 2)");
        assert_eq!(shown("f(1)) = 2"), "(<Syntax error: unmatched closing ')'> = 2)");
        assert_eq!(shown("((1)) = 2"), "((1) = 2)".replace("(1)", "((1))").as_str());
    }

    #[test]
    fn depth_is_limited() {
        for text in [
            "(".repeat(10_000) + "a" + &")".repeat(10_000),
            "not ".repeat(10_000) + "a",
            "a".to_owned() + &" or a".repeat(10_000),
        ] {
            assert!(matches!(parse_condition(&text).unwrap_err().problem, Problem::TooDeep(_)));
        }
        assert!(parse_condition(&("a = b".to_owned() + &" or a = b".repeat(590))).is_ok());
    }

    #[test]
    fn escapes_are_resolved() {
        for (inner, expected) in
            [(r#"Tch\u00FCss \"!\""#, "Tchüss \"!\""), (r"a\\b", r"a\b"), (r"\ud83d\ude00", "😀"), (r"\\u0041", r"\A")]
        {
            assert_eq!(unescaped(inner), expected);
        }
    }
}
