//! Tokens to a statement or a condition.

use super::expression::{Binary, Expression, Function, Literal, Unary};
use super::statement::{Aggregate, Collection, Item, Select, Selected, Statement};
use super::token::{Kind, Token, split};

/// Things within each other; deeper ones are no query that somebody wrote. Whoever goes through a query goes that deep.
const MAX_DEPTH: usize = 60;
/// Operators of a query: in a row each stands within the next one.
const MAX_OPERATORS: usize = 250;
/// Bytes of a query, as of a condition.
const MAX_BYTES: usize = 32 * 1024;

/// A text is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The byte at which it goes wrong.
    pub at: usize,
    /// Why, for people.
    pub message: String,
}

impl QueryError {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// The column at which it goes wrong, in characters from 1, if `text` is what was read.
    pub fn column(&self, text: &str) -> usize {
        text.get(..self.at).unwrap_or(text).chars().count() + 1
    }
}

/// Reads a query: `SELECT … FROM … WHERE … GROUP BY …`.
pub fn statement(text: &str) -> Result<Statement, QueryError> {
    let mut parser = Parser::new(text)?;
    let statement = parser.statement()?;
    parser.end()?;
    Ok(statement)
}

/// Reads a condition, which is what stands behind `WHERE`. A star alone is one that always holds.
pub fn condition(text: &str) -> Result<Expression, QueryError> {
    let mut parser = Parser::new(text)?;
    if parser.takes("*") {
        parser.end()?;
        return Ok(Expression::Literal(Literal::Boolean(true)));
    }
    let condition = parser.expression(0)?;
    parser.end()?;
    Ok(condition)
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    operators: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_BYTES {
            return Err(QueryError::new(0, format!("the query has {} bytes, the most is {MAX_BYTES}", text.len())));
        }
        Ok(Self { tokens: split(text)?, next: 0, depth: 0, operators: 0 })
    }

    fn kind(&self) -> &Kind {
        // The end is never passed.
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |token| token.at)
    }

    fn expected<T>(&self, what: &str) -> Result<T, QueryError> {
        let found = match self.kind() {
            Kind::Word(word) => word.clone(),
            Kind::Quoted(name) => format!("[[{name}]]"),
            Kind::Text(text) => format!("'{text}'"),
            Kind::Number(number) => number.to_string(),
            Kind::Sign(sign) => (*sign).to_owned(),
            Kind::End => "the end".to_owned(),
        };
        Err(QueryError::new(self.at(), format!("expected {what}, found {found}")))
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.kind(), Kind::Sign(found) if *found == sign);
        self.next += usize::from(is_there);
        is_there
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.kind(), Kind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(word);
        self.next += usize::from(is_there);
        is_there
    }

    fn needs(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.takes(sign) { Ok(()) } else { self.expected(sign) }
    }

    fn end(&self) -> Result<(), QueryError> {
        match self.kind() {
            Kind::End => Ok(()),
            _ => self.expected("the end"),
        }
    }

    fn statement(&mut self) -> Result<Statement, QueryError> {
        if !self.takes_word("SELECT") {
            return self.expected("SELECT");
        }
        let top = if self.takes_word("TOP") { Some(self.count()?) } else { None };
        let select = if self.takes("*") { Select::Everything } else { Select::Items(self.items()?) };
        if !self.takes_word("FROM") {
            return self.expected("FROM");
        }
        let from = self.collection()?;
        let condition = if self.takes_word("WHERE") { Some(self.expression(0)?) } else { None };
        let mut group_by = Vec::new();
        if self.takes_word("GROUP") {
            if !self.takes_word("BY") {
                return self.expected("BY");
            }
            group_by.push(self.path()?);
            while self.takes(",") {
                group_by.push(self.path()?);
            }
        }
        if select == Select::Everything && !group_by.is_empty() {
            return Err(QueryError::new(0, "GROUP BY needs a list of what is selected, not *"));
        }
        Ok(Statement { select, top, from, condition, group_by })
    }

    fn count(&mut self) -> Result<usize, QueryError> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a whole number of that size"
        )]
        match *self.kind() {
            Kind::Number(number) if number.fract() == 0.0 && (1.0..=1e9).contains(&number) => {
                self.next += 1;
                Ok(number as usize)
            }
            _ => self.expected("a whole number above 0"),
        }
    }

    fn items(&mut self) -> Result<Vec<Item>, QueryError> {
        let mut items = vec![self.item()?];
        while self.takes(",") {
            items.push(self.item()?);
        }
        Ok(items)
    }

    fn item(&mut self) -> Result<Item, QueryError> {
        let value = match self.aggregate() {
            Some(function) => {
                self.next += 2;
                let of = if function == Aggregate::Count && (self.takes("*") || matches!(self.kind(), Kind::Sign(")")))
                {
                    None
                } else {
                    Some(self.expression(0)?)
                };
                self.needs(")")?;
                Selected::Aggregate(function, of)
            }
            None => Selected::Value(self.expression(0)?),
        };
        let name = if self.takes_word("AS") { Some(self.name()?) } else { None };
        Ok(Item { value, name })
    }

    /// The aggregate that begins here, a word and a parenthesis.
    fn aggregate(&self) -> Option<Aggregate> {
        let opens = self.tokens.get(self.next + 1).is_some_and(|token| token.kind == Kind::Sign("("));
        Aggregate::ALL.into_iter().find(|function| opens && self.is_word(function.name()))
    }

    fn collection(&mut self) -> Result<Collection, QueryError> {
        const WHAT: &str = "devices, devices.modules or devices.jobs";
        if !self.takes_word("devices") {
            return self.expected(WHAT);
        }
        if !self.takes(".") {
            return Ok(Collection::Devices);
        }
        match () {
            () if self.takes_word("modules") => Ok(Collection::Modules),
            () if self.takes_word("jobs") => Ok(Collection::Jobs),
            () => self.expected("modules or jobs"),
        }
    }

    fn name(&mut self) -> Result<String, QueryError> {
        match self.kind().clone() {
            Kind::Word(name) | Kind::Quoted(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => self.expected("a name"),
        }
    }

    fn path(&mut self) -> Result<Vec<String>, QueryError> {
        let mut names = vec![self.name()?];
        while self.takes(".") {
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// What binds more tightly than `strength`.
    fn expression(&mut self, strength: u8) -> Result<Expression, QueryError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(QueryError::new(self.at(), format!("more than {MAX_DEPTH} things within each other")));
        }
        let mut left = self.operand()?;
        loop {
            if self.operators > MAX_OPERATORS {
                return Err(QueryError::new(self.at(), format!("more than {MAX_OPERATORS} operators")));
            }
            if strength < Binary::Equal.strength() && (self.is_word("IN") || self.is_word("NIN")) {
                let none_of = self.is_word("NIN");
                self.next += 1;
                self.operators += 1;
                left = Expression::In { what: Box::new(left), list: self.list()?, none_of };
                continue;
            }
            let Some(operator) = self.operator().filter(|operator| operator.strength() > strength) else { break };
            self.next += 1;
            self.operators += 1;
            let right = self.expression(operator.strength())?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<Binary> {
        Some(match self.kind() {
            Kind::Sign(sign) => match *sign {
                "=" => Binary::Equal,
                "!=" | "<>" => Binary::NotEqual,
                "<" => Binary::Less,
                "<=" => Binary::LessOrEqual,
                ">" => Binary::Greater,
                ">=" => Binary::GreaterOrEqual,
                "+" => Binary::Add,
                "-" => Binary::Subtract,
                "*" => Binary::Multiply,
                "/" => Binary::Divide,
                "%" => Binary::Remainder,
                _ => return None,
            },
            Kind::Word(_) if self.is_word("AND") => Binary::And,
            Kind::Word(_) if self.is_word("OR") => Binary::Or,
            _ => return None,
        })
    }

    /// The values between brackets behind `IN`.
    fn list(&mut self) -> Result<Vec<Expression>, QueryError> {
        self.needs("[")?;
        let mut list = Vec::new();
        if self.takes("]") {
            return Ok(list);
        }
        loop {
            list.push(self.expression(0)?);
            if self.takes("]") {
                return Ok(list);
            }
            self.needs(",")?;
        }
    }

    fn operand(&mut self) -> Result<Expression, QueryError> {
        /// `NOT` takes a whole comparison, but no `AND`.
        const NOT: u8 = 3;
        /// A sign takes what stands right behind it.
        const SIGN: u8 = 7;
        let at = self.at();
        let token = self.kind().clone();
        let unary = |operator, operand| Expression::Unary(operator, Box::new(operand));
        match token {
            Kind::Number(number) => Ok(self.literal(Literal::Number(number))),
            Kind::Text(text) => Ok(self.literal(Literal::Text(text))),
            Kind::Quoted(_) => self.path().map(Expression::Path),
            Kind::Sign("(") => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.needs(")")?;
                Ok(inner)
            }
            Kind::Sign("-") => {
                self.next += 1;
                self.expression(SIGN).map(|operand| unary(Unary::Minus, operand))
            }
            Kind::Sign("+") => {
                self.next += 1;
                self.expression(SIGN).map(|operand| unary(Unary::Plus, operand))
            }
            Kind::Word(word) => match word.to_ascii_lowercase().as_str() {
                "not" => {
                    self.next += 1;
                    self.expression(NOT).map(|operand| unary(Unary::Not, operand))
                }
                "true" => Ok(self.literal(Literal::Boolean(true))),
                "false" => Ok(self.literal(Literal::Boolean(false))),
                "null" => Ok(self.literal(Literal::Null)),
                "undefined" => Ok(self.literal(Literal::Undefined)),
                "select" | "from" | "where" | "group" | "and" | "or" | "in" | "nin" => self.expected("a value"),
                _ => self.path_or_call(&word, at),
            },
            Kind::Sign(_) | Kind::End => self.expected("a value"),
        }
    }

    fn literal(&mut self, literal: Literal) -> Expression {
        self.next += 1;
        Expression::Literal(literal)
    }

    fn path_or_call(&mut self, word: &str, at: usize) -> Result<Expression, QueryError> {
        let is_call = self.tokens.get(self.next + 1).is_some_and(|token| token.kind == Kind::Sign("("));
        if !is_call {
            return self.path().map(Expression::Path);
        }
        let function = Function::ALL.iter().copied().find(|function| function.name().eq_ignore_ascii_case(word));
        let function = function.ok_or_else(|| QueryError::new(at, format!("there is no function {word}")))?;
        self.next += 2;
        let mut arguments = Vec::new();
        while !self.takes(")") {
            if !arguments.is_empty() {
                self.needs(",")?;
            }
            arguments.push(self.expression(0)?);
        }
        if arguments.len() != function.arguments() {
            let (name, wanted, given) = (function.name(), function.arguments(), arguments.len());
            return Err(QueryError::new(at, format!("{name} takes {wanted} values and was given {given}")));
        }
        Ok(Expression::Call(function, arguments))
    }
}
