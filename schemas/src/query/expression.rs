//! What can stand in a condition or a list of what is selected, and how it is written.

use std::fmt;

/// A part of a query that has a value for each row.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A value as it stands.
    Literal(Literal),
    /// The names that lead to a property.
    Path(Vec<String>),
    /// `NOT` or a sign before something.
    Unary(Unary, Box<Self>),
    /// Two things and what is between them.
    Binary(Binary, Box<Self>, Box<Self>),
    /// Whether something is one of some values, or none of them.
    In {
        /// What is looked for.
        what: Box<Self>,
        /// Where.
        list: Vec<Self>,
        /// True for `NIN`.
        none_of: bool,
    },
    /// A function of some values.
    Call(Function, Vec<Self>),
}

/// A value in the text of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Nothing at all: no property.
    Undefined,
    /// JSON's null.
    Null,
    /// A Boolean.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// An operator before one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `NOT`
    Not,
    /// `-`
    Minus,
    /// `+`
    Plus,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Binary {
    /// How tightly it binds: the higher, the tighter.
    pub fn strength(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::Remainder => 6,
        }
    }

    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Or => "OR",
            Self::And => "AND",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

macro_rules! functions {
    ($($variant:ident $name:literal $arguments:literal $doc:literal;)*) => {
        /// A function of the language.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function {
            $(#[doc = $doc] $variant,)*
        }

        impl Function {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, which is compared without regard to case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// How many values it takes.
            pub fn arguments(self) -> usize {
                match self { $(Self::$variant => $arguments),* }
            }
        }
    };
}

functions! {
    IsDefined "IS_DEFINED" 1 "Whether there is such a property.";
    IsNull "IS_NULL" 1 "Whether it is null.";
    IsBool "IS_BOOL" 1 "Whether it is a Boolean.";
    IsNumber "IS_NUMBER" 1 "Whether it is a number.";
    IsString "IS_STRING" 1 "Whether it is a text.";
    IsObject "IS_OBJECT" 1 "Whether it is an object.";
    IsArray "IS_ARRAY" 1 "Whether it is an array.";
    IsPrimitive "IS_PRIMITIVE" 1 "Whether it is a text, a number, a Boolean or null.";
    StartsWith "STARTS_WITH" 2 "Whether a text begins with another.";
    EndsWith "ENDS_WITH" 2 "Whether a text ends with another.";
    Contains "CONTAINS" 2 "Whether a text has another in it.";
    ArrayContains "ARRAY_CONTAINS" 2 "Whether a value is one of an array.";
    IndexOf "INDEX_OF" 2 "Where in a text another begins, from 0; -1 if nowhere.";
    Length "LENGTH" 1 "The characters of a text.";
    Lower "LOWER" 1 "A text in lower case.";
    Upper "UPPER" 1 "A text in upper case.";
    Concat "CONCAT" 2 "Two texts as one.";
    Abs "ABS" 1 "A number without its sign.";
    Ceiling "CEILING" 1 "The least whole number that is not less.";
    Floor "FLOOR" 1 "The greatest whole number that is not greater.";
    AsNumber "AS_NUMBER" 1 "The number that a text is.";
}

impl fmt::Display for Expression {
    /// As it can be read again. Parentheses stand around everything that has parts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(formatter),
            Self::Path(names) => path(names, formatter),
            Self::Unary(Unary::Not, operand) => write!(formatter, "(NOT {operand})"),
            Self::Unary(Unary::Minus, operand) => write!(formatter, "(- {operand})"),
            Self::Unary(Unary::Plus, operand) => write!(formatter, "(+ {operand})"),
            Self::Binary(operator, left, right) => write!(formatter, "({left} {} {right})", operator.sign()),
            Self::In { what, list, none_of } => {
                write!(formatter, "({what} {} [ ", if *none_of { "NIN" } else { "IN" })?;
                separated(list, formatter)?;
                formatter.write_str("])")
            }
            Self::Call(function, arguments) => {
                write!(formatter, "{}(", function.name())?;
                separated(arguments, formatter)?;
                formatter.write_str(")")
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => formatter.write_str("undefined"),
            Self::Null => formatter.write_str("null"),
            Self::Boolean(value) => value.fmt(formatter),
            Self::Number(value) => value.fmt(formatter),
            Self::Text(text) => write!(formatter, "'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        }
    }
}

/// Names that could be taken for something else stand in brackets.
pub(super) fn path(names: &[String], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, name) in names.iter().enumerate() {
        let dot = if index > 0 { "." } else { "" };
        write!(formatter, "{dot}[[{name}]]")?;
    }
    Ok(())
}

fn separated(list: &[Expression], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, item) in list.iter().enumerate() {
        write!(formatter, "{}{item}", if index > 0 { ", " } else { "" })?;
    }
    Ok(())
}
