//! Taking values from bytes.

use bytes::{Buf as _, Bytes};

use super::error::AmqpError;
use super::value::{Array, Described, Map, Symbol, Value};

/// Values may stand in each other this deeply.
const MAX_DEPTH: usize = 16;
/// A reader takes so many values at most: a byte can announce a value of many.
const MAX_VALUES: usize = 65_536;
/// The descriptor of an array is that of every element, so it must not be long.
const MAX_DESCRIPTOR_BYTES: usize = 128;
/// Room that is made for values before they are there.
const EXPECTED_VALUES: usize = 32;

/// Bytes that hold values.
pub struct Reader {
    bytes: Bytes,
    left: usize,
}

impl Reader {
    /// Reads from these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, left: MAX_VALUES }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.bytes
    }

    /// The next value.
    pub fn value(&mut self) -> Result<Value, AmqpError> {
        self.nested(0)
    }

    /// The next value, which has a descriptor of the standard's own.
    pub fn described(&mut self) -> Result<(u64, Value), AmqpError> {
        if self.byte()? != 0 {
            return Err(AmqpError::Descriptor);
        }
        let code = descriptor_code(&self.nested(1)?)?;
        Ok((code, self.nested(1)?))
    }

    fn nested(&mut self, depth: usize) -> Result<Value, AmqpError> {
        self.left = self.left.checked_sub(1).ok_or(AmqpError::Count)?;
        if depth > MAX_DEPTH {
            return Err(AmqpError::Depth);
        }
        let code = self.byte()?;
        if code == 0 {
            let descriptor = self.nested(depth + 1)?;
            let value = self.nested(depth + 1)?;
            return Ok(Value::Described(Box::new(Described { descriptor, value })));
        }
        self.of_type(code, depth)
    }

    /// The bytes of a value whose type is known (1.6).
    fn of_type(&mut self, code: u8, depth: usize) -> Result<Value, AmqpError> {
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Boolean(true),
            0x42 => Value::Boolean(false),
            0x43 => Value::Uint(0),
            0x44 => Value::Ulong(0),
            0x45 => Value::List(Vec::new()),
            0x50 => Value::Ubyte(self.byte()?),
            0x51 => Value::Byte(i8::from_be_bytes(self.fixed()?)),
            0x52 => Value::Uint(self.byte()?.into()),
            0x53 => Value::Ulong(self.byte()?.into()),
            0x54 => Value::Int(i8::from_be_bytes(self.fixed()?).into()),
            0x55 => Value::Long(i8::from_be_bytes(self.fixed()?).into()),
            0x56 => Value::Boolean(self.boolean()?),
            0x60 => Value::Ushort(u16::from_be_bytes(self.fixed()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.fixed()?)),
            0x70 => Value::Uint(u32::from_be_bytes(self.fixed()?)),
            0x71 => Value::Int(i32::from_be_bytes(self.fixed()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.fixed()?)),
            0x73 => Value::Char(char::from_u32(u32::from_be_bytes(self.fixed()?)).ok_or(AmqpError::Text)?),
            0x74 => Value::Decimal32(self.fixed()?),
            0x80 => Value::Ulong(u64::from_be_bytes(self.fixed()?)),
            0x81 => Value::Long(i64::from_be_bytes(self.fixed()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.fixed()?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(self.fixed()?)),
            0x84 => Value::Decimal64(self.fixed()?),
            0x94 => Value::Decimal128(self.fixed()?),
            0x98 => Value::Uuid(self.fixed()?),
            0xa0 | 0xb0 => Value::Binary(self.variable(code)?),
            0xa1 | 0xb1 => Value::String(String::from_utf8(self.variable(code)?.into()).map_err(|_| AmqpError::Text)?),
            0xa3 | 0xb3 => Value::Symbol(self.symbol(code)?),
            0xc0 | 0xd0 => Value::List(self.list(code, depth)?),
            0xc1 | 0xd1 => Value::Map(self.map(code, depth)?),
            0xe0 | 0xf0 => Value::Array(self.array(code, depth)?),
            other => return Err(AmqpError::TypeCode(other)),
        })
    }

    fn byte(&mut self) -> Result<u8, AmqpError> {
        self.bytes.try_get_u8().map_err(|_| AmqpError::Length)
    }

    fn boolean(&mut self) -> Result<bool, AmqpError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(AmqpError::Length),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], AmqpError> {
        let mut bytes = [0; N];
        self.bytes.try_copy_to_slice(&mut bytes).map_err(|_| AmqpError::Length)?;
        Ok(bytes)
    }

    /// A length of one byte or of four: the types with wide lengths have the higher codes of a pair.
    fn length(&mut self, code: u8) -> Result<usize, AmqpError> {
        if code & 0x10 == 0 { Ok(self.byte()?.into()) } else { Ok(u32::from_be_bytes(self.fixed()?) as usize) }
    }

    fn variable(&mut self, code: u8) -> Result<Bytes, AmqpError> {
        // 0xa_ has one byte of length, 0xb_ four.
        let length = self.length(code)?;
        if length > self.bytes.len() {
            return Err(AmqpError::Length);
        }
        Ok(self.bytes.split_to(length))
    }

    fn symbol(&mut self, code: u8) -> Result<Symbol, AmqpError> {
        let bytes = self.variable(code)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) if text.is_ascii() => Ok(Symbol::from_text(text)),
            _ => Err(AmqpError::Text),
        }
    }

    /// The number of elements, and how many bytes are left behind the last of them.
    fn compound(&mut self, code: u8) -> Result<(usize, usize), AmqpError> {
        let size = self.length(code)?;
        let end = self.bytes.len().checked_sub(size).ok_or(AmqpError::Length)?;
        let count = self.length(code)?;
        if count > self.left { Err(AmqpError::Count) } else { Ok((count, end)) }
    }

    fn end_at(&self, end: usize) -> Result<(), AmqpError> {
        if self.bytes.len() == end { Ok(()) } else { Err(AmqpError::Length) }
    }

    fn list(&mut self, code: u8, depth: usize) -> Result<Vec<Value>, AmqpError> {
        let (count, end) = self.compound(code)?;
        let mut values = Vec::with_capacity(count.min(EXPECTED_VALUES));
        for _ in 0..count {
            values.push(self.nested(depth + 1)?);
        }
        self.end_at(end)?;
        Ok(values)
    }

    fn map(&mut self, code: u8, depth: usize) -> Result<Map, AmqpError> {
        let (count, end) = self.compound(code)?;
        if count % 2 != 0 {
            return Err(AmqpError::Count);
        }
        let mut entries = Vec::with_capacity((count / 2).min(EXPECTED_VALUES));
        for _ in 0..count / 2 {
            entries.push((self.nested(depth + 1)?, self.nested(depth + 1)?));
        }
        self.end_at(end)?;
        Ok(Map(entries))
    }

    fn array(&mut self, code: u8, depth: usize) -> Result<Array, AmqpError> {
        let (count, end) = self.compound(code)?;
        if depth >= MAX_DEPTH {
            return Err(AmqpError::Depth);
        }
        let (descriptor, element) = match self.byte()? {
            0 => (Some(self.array_descriptor(depth)?), self.byte()?),
            element => (None, element),
        };
        let mut values = Vec::with_capacity(count.min(EXPECTED_VALUES));
        for _ in 0..count {
            self.left = self.left.checked_sub(1).ok_or(AmqpError::Count)?;
            let value = self.of_type(element, depth + 1)?;
            values.push(match &descriptor {
                Some(descriptor) => Value::Described(Box::new(Described { descriptor: descriptor.clone(), value })),
                None => value,
            });
        }
        self.end_at(end)?;
        Array::new(values)
    }

    fn array_descriptor(&mut self, depth: usize) -> Result<Value, AmqpError> {
        let descriptor = self.nested(depth + 1)?;
        match &descriptor {
            Value::Ulong(_) => Ok(descriptor),
            Value::Symbol(symbol) if symbol.as_str().len() <= MAX_DESCRIPTOR_BYTES => Ok(descriptor),
            _ => Err(AmqpError::Descriptor),
        }
    }
}

/// The number of a descriptor; some clients write the symbol instead, which means the same.
pub(super) fn descriptor_code(descriptor: &Value) -> Result<u64, AmqpError> {
    match descriptor {
        Value::Ulong(code) => Ok(*code),
        Value::Symbol(symbol) => {
            let known = SYMBOLS.iter().find(|(name, _)| *name == symbol.as_str());
            known.map(|(_, code)| *code).ok_or(AmqpError::Descriptor)
        }
        _ => Err(AmqpError::Descriptor),
    }
}

const SYMBOLS: [(&str, u64); 31] = [
    ("amqp:open:list", 0x10),
    ("amqp:begin:list", 0x11),
    ("amqp:attach:list", 0x12),
    ("amqp:flow:list", 0x13),
    ("amqp:transfer:list", 0x14),
    ("amqp:disposition:list", 0x15),
    ("amqp:detach:list", 0x16),
    ("amqp:end:list", 0x17),
    ("amqp:close:list", 0x18),
    ("amqp:error:list", 0x1d),
    ("amqp:received:list", 0x23),
    ("amqp:accepted:list", 0x24),
    ("amqp:rejected:list", 0x25),
    ("amqp:released:list", 0x26),
    ("amqp:modified:list", 0x27),
    ("amqp:source:list", 0x28),
    ("amqp:target:list", 0x29),
    ("amqp:sasl-mechanisms:list", 0x40),
    ("amqp:sasl-init:list", 0x41),
    ("amqp:sasl-challenge:list", 0x42),
    ("amqp:sasl-response:list", 0x43),
    ("amqp:sasl-outcome:list", 0x44),
    ("amqp:header:list", 0x70),
    ("amqp:delivery-annotations:map", 0x71),
    ("amqp:message-annotations:map", 0x72),
    ("amqp:properties:list", 0x73),
    ("amqp:application-properties:map", 0x74),
    ("amqp:data:binary", 0x75),
    ("amqp:amqp-sequence:list", 0x76),
    ("amqp:amqp-value:*", 0x77),
    ("amqp:footer:map", 0x78),
];
