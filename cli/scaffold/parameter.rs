//! The parameters of a template: what it asks for, of which type, and what values it takes.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What every template is given without asking.
pub const GIVEN: [&str; 6] = ["name", "module", "repository", "package", "platform", "container_platform"];

/// The type of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of the texts in `choices`.
    Choice,
}

/// Something that a template asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The variable in its files.
    pub name: String,
    /// The question, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What values it has.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// The value where none is given; without it one must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// A regular expression that the whole of a text matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The least whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The greatest whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// What can be chosen from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

impl Parameter {
    /// Checks the parameter itself: its name, its limits, its default. The error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |reason: &str| Err(format!("parameter {:?}: {reason}", self.name));
        let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !self.name.starts_with(|c: char| c.is_ascii_lowercase()) || !self.name.chars().all(is_legal) {
            return wrong("a name starts with a letter from a to z, and has such letters, digits and `_` only");
        }
        if GIVEN.contains(&self.name.as_str()) {
            return wrong("every template is given a value of that name");
        }
        if let Err(error) = self.pattern.as_deref().map(whole).transpose() {
            return wrong(&format!("its pattern: {error}"));
        }
        if (self.kind == ParameterType::Choice) == self.choices.is_empty() {
            return wrong("`choices` belongs to the type `choice`, and that to `choices`");
        }
        if self.kind != ParameterType::String && self.pattern.is_some() {
            return wrong("`pattern` belongs to the type `string`");
        }
        if self.kind != ParameterType::Integer && (self.minimum.is_some() || self.maximum.is_some()) {
            return wrong("`minimum` and `maximum` belong to the type `integer`");
        }
        match &self.default {
            None => Ok(()),
            Some(value) => match (self.kind, value) {
                (ParameterType::Integer, Value::Number(_))
                | (ParameterType::Boolean, Value::Bool(_))
                | (ParameterType::String | ParameterType::Choice, Value::String(_)) => {
                    let text = text_of(value);
                    self.parse(&text).map(|_| ()).map_err(|reason| format!("its default: {reason}"))
                }
                _ => wrong("its default is not of its type"),
            },
        }
    }

    /// Reads a value. The error says what is wrong with it.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let wrong = |expected: String| Err(format!("parameter {}: {text:?} is not {expected}", self.name));
        match self.kind {
            ParameterType::Boolean => match text {
                "true" | "yes" => Ok(true.into()),
                "false" | "no" => Ok(false.into()),
                _ => wrong("`true` or `false`".to_owned()),
            },
            ParameterType::Integer => match text.parse::<i64>() {
                Err(_) => wrong("a whole number".to_owned()),
                Ok(number) => match (self.minimum, self.maximum) {
                    (Some(least), _) if number < least => wrong(format!("{least} or more")),
                    (_, Some(most)) if number > most => wrong(format!("{most} or less")),
                    _ => Ok(number.into()),
                },
            },
            ParameterType::Choice if !self.choices.iter().any(|choice| choice == text) => {
                wrong(format!("one of {}", self.choices.join(", ")))
            }
            ParameterType::Choice | ParameterType::String => match &self.pattern {
                Some(pattern) if !whole(pattern).is_ok_and(|regex| regex.is_match(text)) => {
                    wrong(format!("of the form {pattern}"))
                }
                _ => Ok(text.into()),
            },
        }
    }

    /// The default as a person would type it.
    pub fn default_text(&self) -> Option<String> {
        self.default.as_ref().map(text_of)
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A pattern for the whole of a text.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(yaml: &str) -> Parameter {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn values_are_of_their_type() {
        let text = parameter("{name: code, type: string, pattern: '[a-z]{3}'}");
        assert_eq!(text.parse("abc"), Ok("abc".into()));
        assert!(text.parse("abcd").unwrap_err().contains("[a-z]{3}"));
        let integer = parameter("{name: n, type: integer, minimum: 1, maximum: 60}");
        assert_eq!(integer.parse("60"), Ok(60.into()));
        for text in ["0", "61", "1.5", "one", ""] {
            assert!(integer.parse(text).is_err(), "{text}");
        }
        let boolean = parameter("{name: b, type: boolean}");
        assert_eq!((boolean.parse("yes"), boolean.parse("false")), (Ok(true.into()), Ok(false.into())));
        assert!(boolean.parse("1").is_err());
        let choice = parameter("{name: c, type: choice, choices: [red, green]}");
        assert_eq!(choice.parse("red"), Ok("red".into()));
        assert!(choice.parse("blue").unwrap_err().contains("red, green"));
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        for yaml in [
            "{name: Name, type: string}",
            "{name: name, type: string}",
            "{name: a, type: choice}",
            "{name: a, type: string, choices: [b]}",
            "{name: a, type: string, pattern: '('}",
            "{name: a, type: integer, pattern: x}",
            "{name: a, type: boolean, minimum: 1}",
            "{name: a, type: integer, default: '1'}",
            "{name: a, type: integer, minimum: 5, default: 1}",
            "{name: a, type: choice, choices: [b], default: c}",
        ] {
            assert!(parameter(yaml).check().is_err(), "{yaml}");
        }
        assert_eq!(parameter("{name: a, type: integer, minimum: 5, default: 5}").check(), Ok(()));
    }
}
