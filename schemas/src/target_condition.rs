//! Target conditions: which devices a deployment is for, by their tags, identifiers and reported properties.
//!
//! `tags.building = 9 AND (tags.environment = 'test' OR NOT is_defined(tags.floor)) AND deviceId IN ['a', 'b']`.
//! Words are read in any case. What is not there equals nothing, so a condition on it is false.

use serde_json::Value;

/// Deepest nesting of parentheses and NOT.
const MAX_NESTING: usize = 64;

/// Why a text is not a target condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {at}")]
pub struct InvalidCondition {
    /// What is wrong.
    pub message: String,
    /// Where, counted from one.
    pub at: usize,
}

/// Whether a device is meant. The device is its twin: `deviceId`, `tags`, `properties.reported`.
pub fn matches(text: &str, device: &Value) -> Result<bool, InvalidCondition> {
    if matches!(text.trim(), "" | "*") {
        return Ok(text.trim() == "*");
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.chars().count() + 1, device, depth: 0 };
    let result = parser.any_of()?;
    match parser.peek() {
        None => Ok(result),
        Some(_) => Err(parser.error("there is more behind the condition")),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(f64),
    Symbol(&'static str),
}

const SYMBOLS: &[&str] = &["<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", "[", "]", ","];

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, InvalidCondition> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text[..text.len() - rest.len()].chars().count() + 1;
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, length) = if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else if first == '\'' || first == '"' {
            let end = rest[1..]
                .find(first)
                .ok_or_else(|| InvalidCondition { message: "the text has no closing quote".to_owned(), at })?;
            (Token::Text(rest[1..=end].to_owned()), end + 2)
        } else {
            let is_word = |c: char| c.is_alphanumeric() || "_.$-[]".contains(c) && c != '[' && c != ']';
            let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            if length == 0 {
                return Err(InvalidCondition { message: format!("unexpected character {first:?}"), at });
            }
            let word = &rest[..length];
            (word.parse().map_or_else(|_| Token::Word(word.to_owned()), Token::Number), length)
        };
        tokens.push((token, at));
        rest = &rest[length..];
    }
}

struct Parser<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    end: usize,
    device: &'a Value,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn error(&self, message: &str) -> InvalidCondition {
        let at = self.tokens.get(self.at).map_or(self.end, |(_, at)| *at);
        InvalidCondition { message: message.to_owned(), at }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        let found = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(found);
        found
    }

    fn any_of(&mut self) -> Result<bool, InvalidCondition> {
        let mut result = self.all_of()?;
        while self.take_word("or") {
            result |= self.all_of()?;
        }
        Ok(result)
    }

    fn all_of(&mut self) -> Result<bool, InvalidCondition> {
        let mut result = self.negated()?;
        while self.take_word("and") {
            result &= self.negated()?;
        }
        Ok(result)
    }

    fn negated(&mut self) -> Result<bool, InvalidCondition> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(self.error("the condition is nested too deeply"));
        }
        let result = if self.take_word("not") {
            !self.negated()?
        } else if self.take("(") {
            let inner = self.any_of()?;
            if !self.take(")") {
                return Err(self.error("expected `)`"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(result)
    }

    fn comparison(&mut self) -> Result<bool, InvalidCondition> {
        let left = self.operand()?;
        for (word, wanted) in [("in", true), ("nin", false)] {
            if self.take_word(word) {
                let list = self.list()?;
                return Ok(left.as_ref().is_some_and(|left| list.iter().any(|value| same(left, value)) == wanted));
            }
        }
        let Some(Token::Symbol(operator)) = self.peek().cloned() else {
            return Ok(left == Some(Value::Bool(true)));
        };
        if !["=", "!=", "<>", "<", "<=", ">", ">="].contains(&operator) {
            return Ok(left == Some(Value::Bool(true)));
        }
        self.at += 1;
        let right = self.operand()?;
        let (Some(left), Some(right)) = (left, right) else { return Ok(false) };
        Ok(compare(&left, operator, &right))
    }

    fn list(&mut self) -> Result<Vec<Value>, InvalidCondition> {
        if !self.take("[") {
            return Err(self.error("expected `[`"));
        }
        let mut values = Vec::new();
        while !self.take("]") {
            values.extend(self.operand()?);
            if !self.take(",") && self.peek() != Some(&Token::Symbol("]")) {
                return Err(self.error("expected `,` or `]`"));
            }
        }
        Ok(values)
    }

    /// A value, or none if the device has nothing there.
    fn operand(&mut self) -> Result<Option<Value>, InvalidCondition> {
        let Some((token, _)) = self.tokens.get(self.at) else {
            return Err(self.error("the condition is not complete"));
        };
        let value = match token {
            Token::Text(text) => Some(Value::String(text.clone())),
            Token::Number(number) => Some(serde_json::json!(number)),
            Token::Symbol(_) => return Err(self.error("expected a value")),
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                "null" => Some(Value::Null),
                "is_defined" => {
                    self.at += 1;
                    return self.is_defined().map(|defined| Some(Value::Bool(defined)));
                }
                "and" | "or" | "not" | "in" | "nin" => return Err(self.error("expected a value")),
                _ => word.split('.').try_fold(self.device, |value, name| value.get(name)).cloned(),
            },
        };
        self.at += 1;
        Ok(value)
    }

    fn is_defined(&mut self) -> Result<bool, InvalidCondition> {
        if !self.take("(") {
            return Err(self.error("expected `(`"));
        }
        let defined = self.operand()?.is_some();
        if self.take(")") { Ok(defined) } else { Err(self.error("expected `)`")) }
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right).is_eq(),
        _ => left == right,
    }
}

fn compare(left: &Value, operator: &str, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match operator {
        "=" => same(left, right),
        "!=" | "<>" => !same(left, right),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_chosen_by_their_tags() {
        let device = json!({"deviceId": "line-1", "tags": {"building": 9, "env": "test", "on": true},
            "properties": {"reported": {"model": "x"}}});
        for (text, expected) in [
            ("*", true),
            ("", false),
            ("deviceId = 'line-1'", true),
            ("tags.building=9 AND tags.env = 'prod'", false),
            ("tags.building >= 9 and (tags.env='prod' OR properties.reported.model = 'x')", true),
            ("NOT tags.env = 'prod'", true),
            ("tags.floor != 1", false),
            ("not is_defined(tags.floor)", true),
            ("tags.env IN ['prod', 'test']", true),
            ("tags.env NIN ['prod']", true),
            ("tags.on", true),
        ] {
            assert_eq!(matches(text, &device), Ok(expected), "{text}");
        }
        for (text, at) in
            [("tags.a =", 9), ("(tags.a = 1", 12), ("tags.a = 1 2", 12), ("a = 'x", 5), ("= 1", 1), ("a ~ 1", 3)]
        {
            assert_eq!(matches(text, &device).unwrap_err().at, at, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[ a-z.='\"()\\[\\],0-9ORANDit]{0,40}") {
            let _ = matches(&text, &json!({}));
        }
    }
}
