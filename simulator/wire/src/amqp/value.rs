//! Values of every type (1.6).

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::error::AmqpError;

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Boolean(bool),
    /// 8 bits, unsigned.
    Ubyte(u8),
    /// 16 bits, unsigned.
    Ushort(u16),
    /// 32 bits, unsigned.
    Uint(u32),
    /// 64 bits, unsigned.
    Ulong(u64),
    /// 8 bits.
    Byte(i8),
    /// 16 bits.
    Short(i16),
    /// 32 bits.
    Int(i32),
    /// 64 bits.
    Long(i64),
    /// IEEE 754 binary32.
    Float(f32),
    /// IEEE 754 binary64.
    Double(f64),
    /// IEEE 754 decimal32, as its bytes.
    Decimal32([u8; 4]),
    /// IEEE 754 decimal64, as its bytes.
    Decimal64([u8; 8]),
    /// IEEE 754 decimal128, as its bytes.
    Decimal128([u8; 16]),
    /// A character.
    Char(char),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    /// A UUID.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Bytes),
    /// Text.
    String(String),
    /// A name of some domain.
    Symbol(Symbol),
    /// Values in order.
    List(Vec<Value>),
    /// Values by key.
    Map(Map),
    /// Values of one type.
    Array(Array),
    /// A value with a descriptor of what it means.
    Described(Box<Described>),
}

/// A value with a descriptor of what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// A number or a symbol, as a rule.
    pub descriptor: Value,
    /// The value.
    pub value: Value,
}

/// A name of some domain, ASCII.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Cow<'static, str>);

/// Keys and values in the order they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map(pub Vec<(Value, Value)>);

/// Values of one type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Array(Vec<Value>);

impl Value {
    /// The text of a string or symbol.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }

    /// The number of any of the integer types, if it is one that fits.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Self::Ubyte(number) => Some(number.into()),
            Self::Ushort(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Ulong(number) => number.try_into().ok(),
            Self::Byte(number) => Some(number.into()),
            Self::Short(number) => Some(number.into()),
            Self::Int(number) => Some(number.into()),
            Self::Long(number) | Self::Timestamp(number) => Some(number),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl Symbol {
    /// A name that is known beforehand.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A name that comes from elsewhere. What is not ASCII cannot be written and becomes a question mark.
    pub fn from_text(text: &str) -> Self {
        if text.is_ascii() {
            return Self(Cow::Owned(text.to_owned()));
        }
        Self(Cow::Owned(text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}", self.0)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Map {
    /// No entries.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key that is a string or symbol.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// Adds an entry whose key is a string, as in application properties.
    pub fn put_text(&mut self, key: &str, value: Value) {
        self.0.push((key.into(), value));
    }

    /// Adds an entry whose key is a symbol, as in annotations and properties of links.
    pub fn put_symbol(&mut self, key: &'static str, value: Value) {
        self.0.push((Value::Symbol(Symbol::new(key)), value));
    }
}

impl Array {
    /// Checks that the values are of one type, and of one descriptor if they have any.
    pub fn new(values: Vec<Value>) -> Result<Self, AmqpError> {
        let same = values.windows(2).all(|pair| same_type(&pair[0], &pair[1]));
        if same { Ok(Self(values)) } else { Err(AmqpError::Array) }
    }

    /// Symbols, which are of one type.
    pub fn of_symbols(symbols: &[Symbol]) -> Self {
        Self(symbols.iter().cloned().map(Value::Symbol).collect())
    }

    /// The values.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// The values.
    pub fn into_values(self) -> Vec<Value> {
        self.0
    }
}

fn same_type(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Only a descriptor that all have can be written.
        (Value::Described(one), Value::Described(other)) => {
            one.descriptor == other.descriptor
                && !matches!(one.value, Value::Described(_))
                && same_type(&one.value, &other.value)
        }
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}
