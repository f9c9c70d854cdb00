//! A route in the desired properties of `$edgeHub`: `"name": "text"` or `"name": {route, priority, timeToLiveSecs}`.

use std::fmt;

use serde_json::Value;

/// How urgent messages are: 0 to 9, 0 the most, or the default behind them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u32);

/// Least urgent priority that a route may name.
pub const MAX_PRIORITY: u32 = 9;

impl Priority {
    /// The priority of a route that names none.
    pub const DEFAULT: Self = Self(2_000_000_000);

    /// A priority that a route names; none beyond [`MAX_PRIORITY`].
    pub fn new(number: u32) -> Option<Self> {
        (number <= MAX_PRIORITY).then_some(Self(number))
    }

    /// The number, 2 000 000 000 for the default.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Identifier of the queue of this priority at an endpoint: the endpoint's own, or `{endpoint}_Pri{number}`.
    pub fn queue_id(self, endpoint_id: &str) -> String {
        if self == Self::DEFAULT { endpoint_id.to_owned() } else { format!("{endpoint_id}_Pri{self}") }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the desired properties say of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDefinition {
    /// Its name.
    pub name: Box<str>,
    /// Its text.
    pub text: Box<str>,
    /// How urgent its messages are.
    pub priority: Priority,
    /// How long they are kept, in seconds; 0 for as long as the hub keeps those without a time of their own.
    pub time_to_live_secs: u32,
}

/// Which forms a schema version allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionForm {
    /// Schema 1.0: a string, and a blank one is left out.
    TextOnly,
    /// Schema 1.1 and later: a string or an object, and neither name nor text may be empty.
    TextOrObject,
}

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDefinition {
    /// Schema 1.1 and later: the name is empty.
    #[error("the name of the route is empty")]
    EmptyName,
    /// Schema 1.1 and later: the text is empty or missing.
    #[error("the route has no text")]
    EmptyText,
    /// Neither a string nor, where that is allowed, an object.
    #[error("the route is neither a string nor an object")]
    NotText,
    /// Schema 1.0: an object.
    #[error("a route with priority or time to live needs schema version 1.1 or later")]
    NeedsLaterSchema,
    /// `route` is no string.
    #[error("`route` is not a string")]
    TextType,
    /// `priority` is not a number from 0 to [`MAX_PRIORITY`].
    #[error("`priority` is not a number from 0 to {MAX_PRIORITY}")]
    Priority,
    /// `timeToLiveSecs` is not a number of seconds.
    #[error("`timeToLiveSecs` is not a number from 0 to {}", u32::MAX)]
    TimeToLive,
}

impl InvalidDefinition {
    /// The property of the object that is at fault, if it is one.
    pub fn property(&self) -> Option<&'static str> {
        match self {
            Self::TextType => Some("route"),
            Self::Priority => Some("priority"),
            Self::TimeToLive => Some("timeToLiveSecs"),
            Self::EmptyName | Self::EmptyText | Self::NotText | Self::NeedsLaterSchema => None,
        }
    }
}

impl RouteDefinition {
    /// A route of the default priority without a time of its own.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into(), priority: Priority::DEFAULT, time_to_live_secs: 0 }
    }

    /// Reads a definition; none for one that the hub leaves out. Does not look at the text of the route.
    pub fn read(name: &str, value: &Value, form: DefinitionForm) -> Result<Option<Self>, InvalidDefinition> {
        let definition = match (value, form) {
            (Value::String(text), DefinitionForm::TextOnly) => {
                return Ok((!text.trim().is_empty()).then(|| Self::new(name, text)));
            }
            (Value::Null, DefinitionForm::TextOnly) => return Ok(None),
            (Value::Object(_), DefinitionForm::TextOnly) => return Err(InvalidDefinition::NeedsLaterSchema),
            (Value::String(text), DefinitionForm::TextOrObject) => Self::new(name, text),
            (Value::Object(object), DefinitionForm::TextOrObject) => Self {
                priority: match object.get("priority") {
                    None => Priority::DEFAULT,
                    Some(number) => whole(number).and_then(Priority::new).ok_or(InvalidDefinition::Priority)?,
                },
                time_to_live_secs: match object.get("timeToLiveSecs") {
                    None => 0,
                    Some(number) => whole(number).ok_or(InvalidDefinition::TimeToLive)?,
                },
                ..Self::new(name, text_property(object.get("route"))?)
            },
            _ => return Err(InvalidDefinition::NotText),
        };
        if definition.name.trim().is_empty() {
            return Err(InvalidDefinition::EmptyName);
        }
        if definition.text.trim().is_empty() {
            return Err(InvalidDefinition::EmptyText);
        }
        Ok(Some(definition))
    }
}

fn text_property(value: Option<&Value>) -> Result<&str, InvalidDefinition> {
    match value {
        None => Err(InvalidDefinition::EmptyText),
        Some(value) => value.as_str().ok_or(InvalidDefinition::TextType),
    }
}

fn whole(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_are_read_by_schema() {
        use DefinitionForm::{TextOnly, TextOrObject};
        let read = |value: &Value, form| {
            RouteDefinition::read("r", value, form)
                .map(|read| read.map(|read| (read.priority.number(), read.time_to_live_secs)))
        };
        let text = "FROM /* INTO $upstream";
        for (value, form, expected) in [
            (json!(text), TextOnly, Ok(Some((2_000_000_000, 0)))),
            (json!("  "), TextOnly, Ok(None)),
            (json!({"route": text}), TextOnly, Err(InvalidDefinition::NeedsLaterSchema)),
            (json!({"route": text}), TextOrObject, Ok(Some((2_000_000_000, 0)))),
            (json!({"route": text, "priority": 9, "timeToLiveSecs": 7200}), TextOrObject, Ok(Some((9, 7200)))),
            (json!({"route": text, "priority": 10}), TextOrObject, Err(InvalidDefinition::Priority)),
            (json!({"route": text, "timeToLiveSecs": -1}), TextOrObject, Err(InvalidDefinition::TimeToLive)),
            (json!({"route": ""}), TextOrObject, Err(InvalidDefinition::EmptyText)),
            (json!(" "), TextOrObject, Err(InvalidDefinition::EmptyText)),
            (json!(3), TextOrObject, Err(InvalidDefinition::NotText)),
        ] {
            assert_eq!(read(&value, form), expected, "{value}");
        }
        let nameless = RouteDefinition::read("", &json!(text), TextOrObject);
        assert_eq!(nameless, Err(InvalidDefinition::EmptyName));
    }

    #[test]
    fn queues_are_named_by_priority() {
        assert_eq!(Priority::DEFAULT.queue_id("iothub"), "iothub");
        assert_eq!(Priority::new(3).unwrap().queue_id("edge/m/i"), "edge/m/i_Pri3");
    }
}
