//! What an expression is for one row.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::expression::{Binary, Expression, Function, Literal, Unary};

/// Something that has properties by name.
pub trait Row {
    /// The property to which names lead; none if there is none.
    fn property(&self, names: &[String]) -> Option<Cow<'_, Value>>;
}

impl Row for Value {
    fn property(&self, names: &[String]) -> Option<Cow<'_, Value>> {
        below(self, names).map(Cow::Borrowed)
    }
}

/// The value to which names lead from another.
pub fn below<'a>(value: &'a Value, names: &[String]) -> Option<&'a Value> {
    names.iter().try_fold(value, |value, name| value.get(name))
}

/// Whether a condition holds: whether it is true, and nothing else.
pub fn holds(condition: &Expression, row: &dyn Row) -> bool {
    evaluate(condition, row).is_some_and(|value| *value == Value::Bool(true))
}

/// The value of an expression; none where it has none, because a property that it needs is not there or because the types
/// do not go together.
pub fn evaluate<'a>(expression: &'a Expression, row: &'a dyn Row) -> Option<Cow<'a, Value>> {
    match expression {
        Expression::Literal(literal) => literal_value(literal).map(Cow::Owned),
        Expression::Path(names) => row.property(names),
        Expression::Unary(operator, operand) => {
            let value = evaluate(operand, row)?;
            owned(match operator {
                Unary::Not => Value::Bool(!value.as_bool()?),
                Unary::Minus => number(-value.as_f64()?)?,
                Unary::Plus => number(value.as_f64()?)?,
            })
        }
        Expression::Binary(Binary::And, left, right) => {
            let (left, right) = (boolean(left, row), boolean(right, row));
            let both = if left == Some(false) || right == Some(false) { false } else { left? && right? };
            owned(Value::Bool(both))
        }
        Expression::Binary(Binary::Or, left, right) => {
            let (left, right) = (boolean(left, row), boolean(right, row));
            let one = if left == Some(true) || right == Some(true) { true } else { left? || right? };
            owned(Value::Bool(one))
        }
        Expression::Binary(operator, left, right) => {
            let (left, right) = (evaluate(left, row)?, evaluate(right, row)?);
            owned(binary(*operator, &left, &right)?)
        }
        Expression::In { what, list, none_of } => {
            let what = evaluate(what, row)?;
            let is_in = list
                .iter()
                .any(|item| evaluate(item, row).is_some_and(|item| compared(&what, &item) == Some(Ordering::Equal)));
            owned(Value::Bool(is_in != *none_of))
        }
        Expression::Call(function, arguments) => owned(call(*function, arguments, row)?),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it ends what may have ended before")]
fn owned<'a>(value: Value) -> Option<Cow<'a, Value>> {
    Some(Cow::Owned(value))
}

fn boolean(expression: &Expression, row: &dyn Row) -> Option<bool> {
    evaluate(expression, row)?.as_bool()
}

fn literal_value(literal: &Literal) -> Option<Value> {
    Some(match literal {
        Literal::Undefined => return None,
        Literal::Null => Value::Null,
        Literal::Boolean(value) => Value::Bool(*value),
        Literal::Number(value) => number(*value)?,
        Literal::Text(text) => Value::String(text.clone()),
    })
}

/// Whole numbers stay whole.
fn number(value: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

fn binary(operator: Binary, left: &Value, right: &Value) -> Option<Value> {
    let order = || compared(left, right);
    let truth = match operator {
        Binary::Equal => order()? == Ordering::Equal,
        Binary::NotEqual => order()? != Ordering::Equal,
        Binary::Less => order()? == Ordering::Less,
        Binary::LessOrEqual => order()? != Ordering::Greater,
        Binary::Greater => order()? == Ordering::Greater,
        Binary::GreaterOrEqual => order()? != Ordering::Less,
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            let (left, right) = (left.as_f64()?, right.as_f64()?);
            return number(match operator {
                Binary::Add => left + right,
                Binary::Subtract => left - right,
                Binary::Multiply => left * right,
                Binary::Divide => left / right,
                _ => left % right,
            });
        }
        Binary::And | Binary::Or => return None,
    };
    Some(Value::Bool(truth))
}

/// Values of one type have an order; null is equal to null and nothing else. Objects and arrays are not compared.
pub fn compared(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

fn call(function: Function, arguments: &[Expression], row: &dyn Row) -> Option<Value> {
    let value = arguments.first().and_then(|argument| evaluate(argument, row));
    let is = |test: fn(&Value) -> bool| Some(Value::Bool(value.as_deref().is_some_and(test)));
    match function {
        Function::IsDefined => return Some(Value::Bool(value.is_some())),
        Function::IsNull => return is(Value::is_null),
        Function::IsBool => return is(Value::is_boolean),
        Function::IsNumber => return is(Value::is_number),
        Function::IsString => return is(Value::is_string),
        Function::IsObject => return is(Value::is_object),
        Function::IsArray => return is(Value::is_array),
        Function::IsPrimitive => return is(|value| !value.is_object() && !value.is_array()),
        _ => {}
    }
    let value = value?;
    let second = || arguments.get(1).and_then(|argument| evaluate(argument, row));
    Some(match function {
        Function::Abs => number(value.as_f64()?.abs())?,
        Function::Ceiling => number(value.as_f64()?.ceil())?,
        Function::Floor => number(value.as_f64()?.floor())?,
        Function::AsNumber => match &*value {
            Value::String(text) => number(text.trim().parse().ok()?)?,
            other => number(other.as_f64()?)?,
        },
        Function::Length => Value::from(value.as_str()?.chars().count()),
        Function::Lower => Value::from(value.as_str()?.to_lowercase()),
        Function::Upper => Value::from(value.as_str()?.to_uppercase()),
        Function::Concat => Value::from(format!("{}{}", value.as_str()?, second()?.as_str()?)),
        Function::StartsWith => Value::Bool(value.as_str()?.starts_with(second()?.as_str()?)),
        Function::EndsWith => Value::Bool(value.as_str()?.ends_with(second()?.as_str()?)),
        Function::Contains => Value::Bool(value.as_str()?.contains(second()?.as_str()?)),
        Function::ArrayContains => Value::Bool(value.as_array()?.contains(&*second()?)),
        Function::IndexOf => {
            let text = value.as_str()?;
            let at = text.find(second()?.as_str()?).map(|at| text[..at].chars().count());
            at.map_or(Value::from(-1), Value::from)
        }
        _ => return None,
    })
}
