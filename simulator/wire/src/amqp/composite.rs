//! Lists whose elements are fields (1.4): how the standard's own types are read and written.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::error::AmqpError;
use super::reader::{Reader, descriptor_code};
use super::value::{Array, Map, Symbol, Value};
use super::writer::{put_boolean, put_map, put_symbol, put_uint, put_value, put_variable, set_size};

/// The fields of a list, taken in order. Fields that were left out at the end are null.
pub struct Fields(std::vec::IntoIter<Value>);

/// Takes the next field of a type, if it is there.
macro_rules! take {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name(&mut self, field: &'static str) -> Result<Option<$type>, AmqpError> {
            match self.value() {
                Value::Null => Ok(None),
                Value::$variant(value) => Ok(Some(value)),
                _ => Err(AmqpError::Field(field)),
            }
        }
    };
}

impl Fields {
    /// The fields of a list with a descriptor, and the descriptor.
    pub fn read(reader: &mut Reader) -> Result<(u64, Self), AmqpError> {
        match reader.described()? {
            (code, Value::List(fields)) => Ok((code, Self(fields.into_iter()))),
            _ => Err(AmqpError::Descriptor),
        }
    }

    /// The fields of a list.
    pub fn of(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// The next field, whatever it is.
    pub fn value(&mut self) -> Value {
        self.0.next().unwrap_or_default()
    }

    take!(/// The next field.
        boolean, Boolean, bool);
    take!(/// The next field.
        ubyte, Ubyte, u8);
    take!(/// The next field.
        ushort, Ushort, u16);
    take!(/// The next field.
        uint, Uint, u32);
    take!(/// The next field.
        ulong, Ulong, u64);
    take!(/// The next field.
        timestamp, Timestamp, i64);
    take!(/// The next field.
        binary, Binary, Bytes);
    take!(/// The next field.
        text, String, String);
    take!(/// The next field.
        symbol, Symbol, Symbol);

    /// The next field; a map that is not there has no entries.
    pub fn map(&mut self, field: &'static str) -> Result<Map, AmqpError> {
        match self.value() {
            Value::Null => Ok(Map::new()),
            Value::Map(map) => Ok(map),
            _ => Err(AmqpError::Field(field)),
        }
    }

    /// The next field, of which there may be several: none, one alone, or an array.
    pub fn symbols(&mut self, field: &'static str) -> Result<Vec<Symbol>, AmqpError> {
        let values = match self.value() {
            Value::Null => Vec::new(),
            Value::Array(array) => array.into_values(),
            value => vec![value],
        };
        let symbol = |value| if let Value::Symbol(symbol) = value { Ok(symbol) } else { Err(AmqpError::Field(field)) };
        values.into_iter().map(symbol).collect()
    }

    /// The next field, which is itself a list of fields with a descriptor.
    pub fn composite(&mut self, field: &'static str) -> Result<Option<(u64, Self)>, AmqpError> {
        match self.value() {
            Value::Null => Ok(None),
            Value::Described(described) => match described.value {
                Value::List(fields) => Ok(Some((descriptor_code(&described.descriptor)?, Self::of(fields)))),
                _ => Err(AmqpError::Field(field)),
            },
            _ => Err(AmqpError::Field(field)),
        }
    }
}

/// A list under construction. Every field is written, also those that are null.
pub struct List<'a> {
    buffer: &'a mut BytesMut,
    start: usize,
    count: u32,
}

impl<'a> List<'a> {
    /// Begins a list with a descriptor.
    pub fn begin(buffer: &'a mut BytesMut, code: u8) -> Self {
        buffer.put_slice(&[0x00, 0x53, code, 0xd0]);
        let start = buffer.len();
        buffer.put_u64(0);
        Self { buffer, start, count: 0 }
    }

    /// Ends the list.
    pub fn end(self) {
        let size = self.buffer.len() - self.start - 4;
        set_size(self.buffer, self.start, size);
        set_size(self.buffer, self.start + 4, self.count as usize);
    }

    fn field<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut BytesMut, T)) -> &mut Self {
        self.count += 1;
        match value {
            Some(value) => write(self.buffer, value),
            None => self.buffer.put_u8(0x40),
        }
        self
    }

    /// Adds a field.
    pub fn boolean(&mut self, truth: impl Into<Option<bool>>) -> &mut Self {
        self.field(truth.into(), put_boolean)
    }

    /// Adds a field.
    pub fn ubyte(&mut self, number: impl Into<Option<u8>>) -> &mut Self {
        self.field(number.into(), |buffer, number| buffer.put_slice(&[0x50, number]))
    }

    /// Adds a field.
    pub fn ushort(&mut self, number: impl Into<Option<u16>>) -> &mut Self {
        self.field(number.into(), |buffer, number| {
            buffer.put_u8(0x60);
            buffer.put_u16(number);
        })
    }

    /// Adds a field.
    pub fn uint(&mut self, number: impl Into<Option<u32>>) -> &mut Self {
        self.field(number.into(), put_uint)
    }

    /// Adds a field.
    pub fn ulong(&mut self, number: impl Into<Option<u64>>) -> &mut Self {
        self.field(number.into(), super::writer::put_ulong)
    }

    /// Adds a field.
    pub fn timestamp(&mut self, milliseconds: impl Into<Option<i64>>) -> &mut Self {
        self.field(milliseconds.into(), |buffer, time| {
            buffer.put_u8(0x83);
            buffer.put_i64(time);
        })
    }

    /// Adds a field.
    pub fn binary(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        self.field(bytes, |buffer, bytes| put_variable(buffer, 0xa0, bytes))
    }

    /// Adds a field.
    pub fn text(&mut self, text: Option<&str>) -> &mut Self {
        self.field(text, |buffer, text| put_variable(buffer, 0xa1, text.as_bytes()))
    }

    /// Adds a field.
    pub fn symbol(&mut self, symbol: Option<&Symbol>) -> &mut Self {
        self.field(symbol, put_symbol)
    }

    /// Adds a field; null if there is no symbol.
    pub fn symbols(&mut self, symbols: &[Symbol]) -> &mut Self {
        let some = (!symbols.is_empty()).then(|| Value::Array(Array::of_symbols(symbols)));
        self.field(some, |buffer, array| put_value(buffer, &array))
    }

    /// Adds a field; null if there is no entry.
    pub fn map(&mut self, map: &Map) -> &mut Self {
        self.field((!map.is_empty()).then_some(map), put_map)
    }

    /// Adds a field.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        self.field(Some(value), put_value)
    }

    /// Adds a field that writes itself.
    pub fn composite<T>(&mut self, value: Option<T>, write: impl FnOnce(T, &mut BytesMut)) -> &mut Self {
        self.field(value, |buffer, value| write(value, buffer))
    }
}
