//! A compiled condition on a message.

use std::borrow::Cow;

use crate::route::body::evaluation::Evaluation;
use crate::route::body::paths::Slot;
use crate::route::condition::compile::Condition;
use crate::route::condition::expression::{Arithmetic, Comparison};
use crate::route::condition::function::Function;
use crate::route::condition::types::StaticType;
use crate::route::condition::value::Value;
use crate::route::message::{Lookup, MessageView};

/// A part of a compiled condition.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::route) enum Node {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    /// An application property, or something else where it is absent.
    Property {
        name: Box<str>,
        otherwise: Option<Box<Node>>,
    },
    SystemProperty(Box<str>),
    Body(Option<Slot>),
    Negate(Box<Node>),
    Not(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Compare {
        operator: Comparison,
        left: Box<Node>,
        right: Box<Node>,
        has_query: bool,
    },
    And {
        left: Box<Node>,
        right: Box<Node>,
        has_query: bool,
    },
    Or {
        left: Box<Node>,
        right: Box<Node>,
        has_query: bool,
    },
    Coalesce(Box<Node>, Box<Node>),
    Call(Function, Box<[Node]>),
    /// `is_null` of a value of the body: true for all that is defined, whatever it is.
    IsBodyNull(Box<Node>),
}

impl Condition {
    /// Whether the message is meant; none is undefined, and only true routes a message.
    pub fn evaluate<M: MessageView + ?Sized>(&self, evaluation: &Evaluation<'_, M>) -> Option<bool> {
        match self.kind() {
            StaticType::Null => Some(false),
            _ => self.node.value(evaluation).as_bool(),
        }
    }

    /// Its value, of whatever type.
    pub fn value<'e, M: MessageView + ?Sized>(&'e self, evaluation: &'e Evaluation<'_, M>) -> Value<'e> {
        self.node.value(evaluation)
    }
}

impl Node {
    fn value<'e, M: MessageView + ?Sized>(&'e self, evaluation: &'e Evaluation<'_, M>) -> Value<'e> {
        match self {
            Self::Undefined => Value::Undefined,
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Property { name, otherwise } => match (evaluation.message().property(name), otherwise) {
                (Lookup::Absent, Some(otherwise)) => otherwise.value(evaluation),
                (lookup, _) => property_value(lookup),
            },
            Self::SystemProperty(name) => property_value(evaluation.message().system_property(name)),
            Self::Body(slot) => slot.map_or(Value::Undefined, |slot| evaluation.body_value(slot)),
            Self::Negate(operand) => {
                operand.value(evaluation).as_number().map_or(Value::Undefined, |number| Value::Number(-number))
            }
            Self::Not(operand) => Value::truth(operand.value(evaluation).as_bool().map(|truth| !truth)),
            Self::Arithmetic(operator, left, right) => {
                Value::arithmetic(*operator, &left.value(evaluation), &right.value(evaluation))
            }
            Self::Compare { operator, left, right, has_query } => {
                let (left, right) = (left.value(evaluation), right.value(evaluation));
                let compare = if *has_query { Value::compare_any } else { Value::compare };
                Value::truth(compare(*operator, &left, &right))
            }
            Self::And { left, right, has_query } => connect(left, right, *has_query, false, evaluation),
            Self::Or { left, right, has_query } => connect(left, right, *has_query, true, evaluation),
            Self::Coalesce(left, right) => match left.value(evaluation) {
                Value::Undefined => right.value(evaluation),
                defined => defined,
            },
            Self::Call(function, arguments) => {
                function.apply(arguments.iter().map(|argument| argument.value(evaluation)))
            }
            Self::IsBodyNull(operand) => match operand.value(evaluation) {
                Value::Undefined => Value::Undefined,
                _ => Value::Bool(true),
            },
        }
    }
}

/// AND and OR: `decides` is the value of either side that settles the result. With a value of the body on a side
/// both must be truth values; otherwise an undefined side leaves the other a chance to settle it.
fn connect<'e, M: MessageView + ?Sized>(
    left: &'e Node,
    right: &'e Node,
    has_query: bool,
    decides: bool,
    evaluation: &'e Evaluation<'_, M>,
) -> Value<'e> {
    let left = left.value(evaluation).as_bool();
    if left == Some(decides) && !has_query {
        return Value::Bool(decides);
    }
    if left.is_none() && has_query {
        return Value::Undefined;
    }
    let right = right.value(evaluation).as_bool();
    Value::truth(match (left, right) {
        (Some(left), Some(right)) if left == right => Some(left),
        (Some(_), Some(_)) => Some(decides),
        (None, Some(right)) if right == decides => Some(decides),
        _ => None,
    })
}

fn property_value(lookup: Lookup<'_>) -> Value<'_> {
    match lookup {
        Lookup::Absent => Value::Undefined,
        Lookup::Null => Value::NullText,
        Lookup::Value(text) => Value::Text(Cow::Borrowed(text)),
    }
}
