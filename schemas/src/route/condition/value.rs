//! Values while a condition is evaluated.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::route::condition::expression::{Arithmetic, Comparison};

/// A value, borrowed where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'v> {
    /// Nothing that can be compared.
    Undefined,
    /// The null of the language or of the body.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, never not-a-number: see [`Value::number`].
    Number(f64),
    /// A string.
    Text(Cow<'v, str>),
    /// A string without a value: a property that is there but null.
    NullText,
    /// Something of the body that is defined and no more: an object, an array, a date.
    Object,
}

impl<'v> Value<'v> {
    /// A number; not-a-number is undefined.
    pub fn number(number: f64) -> Self {
        if number.is_nan() { Self::Undefined } else { Self::Number(number) }
    }

    /// A truth value, or undefined without one.
    pub fn truth(truth: Option<bool>) -> Self {
        truth.map_or(Self::Undefined, Self::Bool)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The string, if it is one and has a value.
    pub fn into_text(self) -> Option<Cow<'v, str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Two numbers to one; undefined when either is none.
    pub fn arithmetic(operator: Arithmetic, left: &Self, right: &Self) -> Self {
        let (Self::Number(left), Self::Number(right)) = (left, right) else { return Self::Undefined };
        Self::number(match operator {
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide => left / right,
            Arithmetic::Remainder => left % right,
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
        })
    }

    /// Compares two values of one static type: a string without a value compares with nothing.
    pub fn compare(operator: Comparison, left: &Self, right: &Self) -> Option<bool> {
        if matches!(left, Self::NullText) || matches!(right, Self::NullText) {
            return None;
        }
        Self::compare_any(operator, left, right)
    }

    /// Compares two values of which one is of the body: those of different types are ordered by their types,
    /// bool before number before string before null.
    pub fn compare_any(operator: Comparison, left: &Self, right: &Self) -> Option<bool> {
        let ordering = match (left, right) {
            (Self::Text(left), Self::Text(right)) => {
                if matches!(operator, Comparison::Equal | Comparison::NotEqual) {
                    return Some((left == right) == (operator == Comparison::Equal));
                }
                ordinal(left, right)
            }
            (Self::Number(left), Self::Number(right)) => left.partial_cmp(right)?,
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::NullText, Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::NullText) => Ordering::Greater,
            _ => left.rank()?.cmp(&right.rank()?),
        };
        Some(match operator {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        })
    }

    fn rank(&self) -> Option<u8> {
        match self {
            Self::Undefined | Self::Object => None,
            Self::Bool(_) => Some(0),
            Self::Number(_) => Some(1),
            Self::Text(_) | Self::NullText => Some(2),
            Self::Null => Some(3),
        }
    }
}

/// The order of code units, which differs from that of code points beyond the basic plane.
fn ordinal(left: &str, right: &str) -> Ordering {
    if left.is_ascii() || right.is_ascii() {
        return left.cmp(right);
    }
    left.encode_utf16().cmp(right.encode_utf16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_body_are_ordered_by_type() {
        let text = Value::Text("x".into());
        for (left, right, expected) in [
            (Value::Bool(true), Value::Number(0.0), Some(true)),
            (Value::Number(9.0), text.clone(), Some(true)),
            (text.clone(), Value::Null, Some(true)),
            (Value::Null, Value::Null, Some(false)),
            (Value::NullText, text.clone(), Some(true)),
            (Value::Object, text.clone(), None),
            (Value::Undefined, Value::Null, None),
        ] {
            assert_eq!(Value::compare_any(Comparison::Less, &left, &right), expected, "{left:?} {right:?}");
        }
        assert_eq!(Value::compare(Comparison::Equal, &Value::NullText, &text), None);
        assert_eq!(ordinal("\u{1F600}", "\u{FF5E}"), Ordering::Less);
    }

    #[test]
    fn what_is_not_a_number_is_undefined() {
        let (three, zero) = (Value::Number(3.0), Value::Number(0.0));
        assert_eq!(Value::arithmetic(Arithmetic::Remainder, &three, &zero), Value::Undefined);
        assert_eq!(Value::arithmetic(Arithmetic::Divide, &three, &zero), Value::Number(f64::INFINITY));
    }
}
