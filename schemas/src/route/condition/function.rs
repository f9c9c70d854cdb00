//! The functions of the language.

use std::borrow::Cow;

use crate::route::condition::number;
use crate::route::condition::types::StaticType;
use crate::route::condition::value::Value;

/// A function. Names are found in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// One number to a number.
    Mathematics(Mathematics),
    /// `power(base, exponent)`
    Power,
    /// `as_number(string or number)`
    AsNumber,
    /// `is_defined(any)`
    IsDefined,
    /// `is_bool(any)`
    IsBool,
    /// `is_null(any)`
    IsNull,
    /// `is_number(any)`, false for infinity.
    IsNumber,
    /// `is_string(any)`
    IsString,
    /// `concat(string, string, …)`, and the operator `||`.
    Concat,
    /// `length(string)` in code units.
    Length,
    /// `lower(string)`
    Lower,
    /// `upper(string)`
    Upper,
    /// `substring(string, start[, length])` in code units.
    Substring,
    /// `index_of(string, part)` in code units, -1 when absent.
    IndexOf,
    /// `starts_with(string, part)`
    StartsWith,
    /// `ends_with(string, part)`
    EndsWith,
    /// `contains(string, part)`
    Contains,
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mathematics {
    /// `abs`
    Absolute,
    /// `exp`
    Exponential,
    /// `square`
    Square,
    /// `ceiling`
    Ceiling,
    /// `floor`
    Floor,
    /// `sign`: -1, 0 or 1.
    Sign,
    /// `sqrt`
    SquareRoot,
}

/// All functions with their names. `twin_change_includes` is part of the language elsewhere, but a hub never
/// compiles a route in the way that would allow it.
pub const FUNCTIONS: [(&str, Function); 23] = [
    ("abs", Function::Mathematics(Mathematics::Absolute)),
    ("exp", Function::Mathematics(Mathematics::Exponential)),
    ("power", Function::Power),
    ("square", Function::Mathematics(Mathematics::Square)),
    ("ceiling", Function::Mathematics(Mathematics::Ceiling)),
    ("floor", Function::Mathematics(Mathematics::Floor)),
    ("sign", Function::Mathematics(Mathematics::Sign)),
    ("sqrt", Function::Mathematics(Mathematics::SquareRoot)),
    ("as_number", Function::AsNumber),
    ("is_bool", Function::IsBool),
    ("is_defined", Function::IsDefined),
    ("is_null", Function::IsNull),
    ("is_number", Function::IsNumber),
    ("is_string", Function::IsString),
    ("concat", Function::Concat),
    ("length", Function::Length),
    ("lower", Function::Lower),
    ("upper", Function::Upper),
    ("substring", Function::Substring),
    ("index_of", Function::IndexOf),
    ("starts_with", Function::StartsWith),
    ("ends_with", Function::EndsWith),
    ("contains", Function::Contains),
];

/// What a function gives for arguments of certain types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// A value of that type, found for each message.
    Computed(StaticType),
    /// This truth value, whatever the arguments are.
    Always(bool),
}

impl Function {
    /// The function of a name.
    pub fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, function)| *function)
    }

    /// What it gives for arguments of these types; none when it does not take them.
    pub fn signature(self, arguments: &[StaticType]) -> Option<Signature> {
        use StaticType::{Bool, Null, Number, Query, Text, Undefined};
        let takes = |expected: &[StaticType]| {
            expected.len() == arguments.len()
                && expected.iter().zip(arguments).all(|(expected, given)| expected == given || *given == Query)
        };
        let computed = |condition: bool, result| condition.then_some(Signature::Computed(result));
        match self {
            Self::Mathematics(_) => computed(takes(&[Number]), Number),
            Self::Power => computed(takes(&[Number, Number]), Number),
            Self::AsNumber => computed(takes(&[Text]) || takes(&[Number]), Number),
            Self::Concat => {
                computed(arguments.len() >= 2 && arguments.iter().all(|given| matches!(given, Text | Query)), Text)
            }
            Self::Length => computed(takes(&[Text]), Number),
            Self::Lower | Self::Upper => computed(takes(&[Text]), Text),
            Self::Substring => computed(takes(&[Text, Number]) || takes(&[Text, Number, Number]), Text),
            Self::IndexOf => computed(takes(&[Text, Text]), Number),
            Self::StartsWith | Self::EndsWith | Self::Contains => computed(takes(&[Text, Text]), Bool),
            Self::IsBool | Self::IsDefined | Self::IsNull | Self::IsNumber | Self::IsString => {
                let [given] = arguments else { return None };
                Some(match (self, given) {
                    (Self::IsDefined | Self::IsNull, Null) => Signature::Always(true),
                    (Self::IsDefined, Undefined) => Signature::Always(false),
                    (Self::IsDefined, _)
                    | (_, Query)
                    | (Self::IsBool, Bool)
                    | (Self::IsNull | Self::IsString, Text)
                    | (Self::IsNumber, Number) => Signature::Computed(Bool),
                    _ => Signature::Always(false),
                })
            }
        }
    }

    /// Applies it to arguments of types that it takes. A wrong or undefined one makes the result undefined.
    pub fn apply<'v>(self, mut arguments: impl Iterator<Item = Value<'v>>) -> Value<'v> {
        if self == Self::Concat {
            return concat(arguments).map_or(Value::Undefined, |text| Value::Text(Cow::Owned(text)));
        }
        let Some(first) = arguments.next() else { return Value::Undefined };
        match self {
            Self::IsDefined => Value::Bool(first != Value::Undefined),
            Self::IsBool if first == Value::Undefined => Value::Undefined,
            Self::IsBool => Value::Bool(matches!(first, Value::Bool(_))),
            Self::IsNumber => Value::Bool(first.as_number().is_some_and(f64::is_finite)),
            Self::IsString => Value::Bool(matches!(first, Value::Text(_))),
            Self::AsNumber => match first {
                Value::Number(number) => Value::Number(number),
                Value::Text(text) => number::parse(&text).map_or(Value::Undefined, Value::number),
                _ => Value::Undefined,
            },
            Self::Mathematics(function) => {
                first.as_number().map_or(Value::Undefined, |number| Value::number(function.apply(number)))
            }
            Self::Power => match (first.as_number(), arguments.next().and_then(|exponent| exponent.as_number())) {
                (Some(base), Some(exponent)) => Value::number(base.powf(exponent)),
                _ => Value::Undefined,
            },
            // Handled by the caller, which knows whether the argument is a property or a value of the body.
            Self::IsNull => Value::Bool(first == Value::NullText),
            Self::Concat
            | Self::Length
            | Self::Lower
            | Self::Upper
            | Self::Substring
            | Self::IndexOf
            | Self::StartsWith
            | Self::EndsWith
            | Self::Contains => {
                first.into_text().and_then(|text| self.apply_to_text(&text, arguments)).unwrap_or(Value::Undefined)
            }
        }
    }

    fn apply_to_text<'v>(self, text: &str, mut rest: impl Iterator<Item = Value<'v>>) -> Option<Value<'v>> {
        Some(match self {
            Self::Length => Value::Number(code_units(text)),
            Self::Lower => Value::Text(Cow::Owned(text.chars().map(lower).collect())),
            Self::Upper => Value::Text(Cow::Owned(text.chars().map(upper).collect())),
            Self::Substring => {
                let start = rest.next()?.as_number()?;
                let length = match rest.next() {
                    Some(length) => Some(length.as_number()?),
                    None => None,
                };
                Value::Text(Cow::Owned(substring(text, start, length)?))
            }
            _ => {
                let part = rest.next()?.into_text()?;
                match self {
                    Self::IndexOf => Value::Number(text.find(&*part).map_or(-1.0, |at| code_units(&text[..at]))),
                    Self::StartsWith => Value::Bool(text.starts_with(&*part)),
                    Self::EndsWith => Value::Bool(text.ends_with(&*part)),
                    _ => Value::Bool(text.contains(&*part)),
                }
            }
        })
    }
}

impl Mathematics {
    fn apply(self, number: f64) -> f64 {
        match self {
            Self::Absolute => number.abs(),
            Self::Exponential => number.exp(),
            Self::Square => number * number,
            Self::Ceiling => number.ceil(),
            Self::Floor => number.floor(),
            Self::Sign if number == 0.0 => 0.0,
            Self::Sign => number.signum(),
            Self::SquareRoot => number.sqrt(),
        }
    }
}

/// All strings in one; a string without a value is empty here.
fn concat<'v>(arguments: impl Iterator<Item = Value<'v>>) -> Option<String> {
    let mut all = String::new();
    for argument in arguments {
        match argument {
            Value::Text(text) => all.push_str(&text),
            Value::NullText => {}
            _ => return None,
        }
    }
    Some(all)
}

#[expect(clippy::cast_precision_loss, reason = "all numbers of the language are doubles")]
fn code_units(text: &str) -> f64 {
    if text.is_ascii() { text.len() as f64 } else { text.encode_utf16().count() as f64 }
}

#[expect(clippy::cast_sign_loss, reason = "both were found to lie in the text; their fractions do not count")]
fn substring(text: &str, start: f64, length: Option<f64>) -> Option<String> {
    let whole = code_units(text);
    let fits = match length {
        None => (0.0..=whole).contains(&start),
        Some(length) => (0.0..whole).contains(&start) && (0.0..=whole - start).contains(&length),
    };
    if !fits {
        return None;
    }
    let units = text.encode_utf16().skip(start as usize);
    let part: Vec<u16> = match length {
        None => units.collect(),
        Some(length) => units.take(length as usize).collect(),
    };
    Some(String::from_utf16_lossy(&part))
}

/// One character for one, and the Turkish pair left alone, as the invariant culture of the hub's runtime does it.
fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) if c != 'ı' => single,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn texts_are_counted_in_code_units() {
        let number = |number| Value::Number(number);
        for (function, arguments, expected) in [
            (Function::Length, vec![text("a😀")], number(3.0)),
            (Function::IndexOf, vec![text("😀b"), text("b")], number(2.0)),
            (Function::Substring, vec![text("😀bc"), number(2.9)], text("bc")),
            (Function::Substring, vec![text("abc"), number(3.0)], text("")),
            (Function::Substring, vec![text("abc"), number(3.0), number(0.0)], Value::Undefined),
            (Function::Substring, vec![text("abc"), number(-1.0)], Value::Undefined),
            (Function::Upper, vec![text("straße")], text("STRAßE")),
            (Function::Lower, vec![text("İ")], text("İ")),
            (Function::Concat, vec![text("a"), Value::NullText], text("a")),
            (Function::Concat, vec![text("a"), Value::Undefined], Value::Undefined),
        ] {
            assert_eq!(function.apply(arguments.clone().into_iter()), expected, "{function:?} {arguments:?}");
        }
    }
}
