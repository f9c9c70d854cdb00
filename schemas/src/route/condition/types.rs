//! What is known of a value before there is a message.

use std::fmt;

/// The static type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StaticType {
    /// A string, perhaps null or undefined. All properties are strings.
    Text,
    /// A number; not-a-number is undefined.
    Number,
    /// True, false or undefined.
    Bool,
    /// The null of the language.
    Null,
    /// Always undefined.
    Undefined,
    /// Whatever the body has.
    Query,
}

impl StaticType {
    /// Whether an operand of a type may stand where this is expected. A value of the body goes with all but undefined.
    pub fn accepts(self, given: Self) -> bool {
        self == given
            || (given == Self::Query && self != Self::Undefined)
            || (self == Self::Query && given != Self::Undefined)
    }
}

/// As the hub's own compiler calls them; it has no name for a value of the body.
impl fmt::Display for StaticType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "string",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::Query => "unknown",
        })
    }
}
