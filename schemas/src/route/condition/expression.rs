//! The tree of a condition.

use crate::route::error::{Problem, Span};

/// Deepest tree that is accepted, in levels: as many terms as a chain of AND or OR may have.
pub const MAX_HEIGHT: usize = 600;

/// Deepest nesting of parentheses, calls and unary operators that is accepted.
pub const MAX_NESTING: usize = 128;

/// A condition or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// What it is.
    pub kind: ExpressionKind,
    /// Where it is.
    pub span: Span,
    /// Levels from here down, this one included.
    pub height: usize,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpressionKind {
    /// A value that the text spells out.
    Literal(Literal),
    /// `name`: an application property.
    Property(Box<str>),
    /// `$name`, with the dollar: an application property of that name, else a body query or a system property.
    SystemProperty(Box<str>),
    /// `{$name}`, with the dollar: a body query or a system property.
    EscapedSystemProperty(Box<str>),
    /// `name(arguments)`.
    Call {
        /// Where its name is.
        name: Span,
        /// What it is given.
        arguments: Vec<Expression>,
    },
    /// `-operand` or `NOT operand`.
    Unary {
        /// Which.
        operator: UnaryOperator,
        /// Where the operator is.
        place: Span,
        /// What it is applied to.
        operand: Box<Expression>,
    },
    /// `left operator right`.
    Binary {
        /// Which.
        operator: BinaryOperator,
        /// Where the operator is.
        place: Span,
        /// Left operand.
        left: Box<Expression>,
        /// Right operand.
        right: Box<Expression>,
    },
    /// Something that the grammar takes only to say what is wrong with it.
    Broken {
        /// What is wrong.
        problem: Problem,
        /// Where.
        place: Span,
    },
}

/// A value that the text spells out.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string, its escapes resolved.
    Text(Box<str>),
    /// `null`
    Null,
    /// `undefined`, or digits that are no number.
    Undefined,
}

/// An operator with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    /// `-`
    Negate,
    /// `NOT`
    Not,
}

/// An operator with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    /// `* / % + -`
    Arithmetic(Arithmetic),
    /// `||`
    Concat,
    /// `< <= > >= = !=`
    Compare(Comparison),
    /// `AND`
    And,
    /// `OR`
    Or,
    /// `??`
    Coalesce,
}

/// An operator on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
    /// `+`
    Add,
    /// `-`
    Subtract,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
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
}

impl Expression {
    /// Calls a function for this and every expression below it, in the order of the text.
    pub fn visit<'e>(&'e self, each: &mut impl FnMut(&'e Expression)) {
        each(self);
        match &self.kind {
            ExpressionKind::Call { arguments, .. } => arguments.iter().for_each(|argument| argument.visit(each)),
            ExpressionKind::Unary { operand, .. } => operand.visit(each),
            ExpressionKind::Binary { left, right, .. } => {
                left.visit(each);
                right.visit(each);
            }
            ExpressionKind::Literal(_)
            | ExpressionKind::Property(_)
            | ExpressionKind::SystemProperty(_)
            | ExpressionKind::EscapedSystemProperty(_)
            | ExpressionKind::Broken { .. } => {}
        }
    }
}
