//! Putting values behind each other.

use bytes::{BufMut as _, BytesMut};

use super::value::{Array, Map, Symbol, Value};

/// Appends a value in the smallest of its forms; lists, maps and arrays have wide lengths.
pub fn put_value(buffer: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => buffer.put_u8(0x40),
        Value::Boolean(truth) => put_boolean(buffer, *truth),
        Value::Uint(number) => put_uint(buffer, *number),
        Value::Ulong(number) => put_ulong(buffer, *number),
        Value::Int(number) => match i8::try_from(*number) {
            Ok(small) => buffer.put_slice(&[0x54, small.to_be_bytes()[0]]),
            Err(_) => put_wide(buffer, value),
        },
        Value::Long(number) => match i8::try_from(*number) {
            Ok(small) => buffer.put_slice(&[0x55, small.to_be_bytes()[0]]),
            Err(_) => put_wide(buffer, value),
        },
        Value::Binary(bytes) => put_variable(buffer, 0xa0, bytes),
        Value::String(text) => put_variable(buffer, 0xa1, text.as_bytes()),
        Value::Symbol(symbol) => put_symbol(buffer, symbol),
        Value::Described(described) => {
            buffer.put_u8(0);
            put_value(buffer, &described.descriptor);
            put_value(buffer, &described.value);
        }
        _ => put_wide(buffer, value),
    }
}

/// Appends true or false.
pub fn put_boolean(buffer: &mut BytesMut, truth: bool) {
    buffer.put_u8(if truth { 0x41 } else { 0x42 });
}

/// Appends a number.
pub fn put_uint(buffer: &mut BytesMut, number: u32) {
    match u8::try_from(number) {
        Ok(0) => buffer.put_u8(0x43),
        Ok(small) => buffer.put_slice(&[0x52, small]),
        Err(_) => {
            buffer.put_u8(0x70);
            buffer.put_u32(number);
        }
    }
}

/// Appends a number.
pub fn put_ulong(buffer: &mut BytesMut, number: u64) {
    match u8::try_from(number) {
        Ok(0) => buffer.put_u8(0x44),
        Ok(small) => buffer.put_slice(&[0x53, small]),
        Err(_) => {
            buffer.put_u8(0x80);
            buffer.put_u64(number);
        }
    }
}

/// Appends a name.
pub fn put_symbol(buffer: &mut BytesMut, symbol: &Symbol) {
    put_variable(buffer, 0xa3, symbol.as_str().as_bytes());
}

/// Appends bytes whose length has one byte where that is enough, in the type of that code, and else four, in the type
/// sixteen codes above.
pub fn put_variable(buffer: &mut BytesMut, code: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => buffer.put_slice(&[code, length]),
        Err(_) => {
            buffer.put_u8(code | 0x10);
            buffer.put_u32(bytes.len() as u32);
        }
    }
    buffer.put_slice(bytes);
}

/// Appends a map.
pub fn put_map(buffer: &mut BytesMut, map: &Map) {
    buffer.put_u8(0xd1);
    put_map_body(buffer, map);
}

fn put_map_body(buffer: &mut BytesMut, map: &Map) {
    put_compound(buffer, map.0.len() * 2, |buffer| {
        for (key, value) in &map.0 {
            put_value(buffer, key);
            put_value(buffer, value);
        }
    });
}

/// Size and count of four bytes each, and what `write` appends; the size is put in afterwards.
fn put_compound(buffer: &mut BytesMut, count: usize, write: impl FnOnce(&mut BytesMut)) {
    let start = buffer.len();
    buffer.put_u32(0);
    buffer.put_u32(count as u32);
    write(buffer);
    set_size(buffer, start, buffer.len() - start - 4);
}

/// Writes a size of four bytes into its place.
pub(super) fn set_size(buffer: &mut BytesMut, at: usize, size: usize) {
    buffer[at..at + 4].copy_from_slice(&(size as u32).to_be_bytes());
}

fn put_wide(buffer: &mut BytesMut, value: &Value) {
    buffer.put_u8(wide_code(value));
    put_bytes(buffer, value);
}

/// The widest form of a value's type, in which all values of the type can be written (1.6).
fn wide_code(value: &Value) -> u8 {
    match value {
        Value::Null => 0x40,
        Value::Boolean(_) => 0x56,
        Value::Ubyte(_) => 0x50,
        Value::Ushort(_) => 0x60,
        Value::Uint(_) => 0x70,
        Value::Ulong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xb0,
        Value::String(_) => 0xb1,
        Value::Symbol(_) => 0xb3,
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) => 0xf0,
        Value::Described(_) => 0x00,
    }
}

/// The bytes of a value in its widest form, without the code before them.
fn put_bytes(buffer: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => {}
        Value::Boolean(truth) => buffer.put_u8((*truth).into()),
        Value::Ubyte(number) => buffer.put_u8(*number),
        Value::Ushort(number) => buffer.put_u16(*number),
        Value::Uint(number) => buffer.put_u32(*number),
        Value::Ulong(number) => buffer.put_u64(*number),
        Value::Byte(number) => buffer.put_i8(*number),
        Value::Short(number) => buffer.put_i16(*number),
        Value::Int(number) => buffer.put_i32(*number),
        Value::Long(number) | Value::Timestamp(number) => buffer.put_i64(*number),
        Value::Float(number) => buffer.put_f32(*number),
        Value::Double(number) => buffer.put_f64(*number),
        Value::Decimal32(bytes) => buffer.put_slice(bytes),
        Value::Decimal64(bytes) => buffer.put_slice(bytes),
        Value::Decimal128(bytes) | Value::Uuid(bytes) => buffer.put_slice(bytes),
        Value::Char(character) => buffer.put_u32((*character).into()),
        Value::Binary(bytes) => put_long(buffer, bytes),
        Value::String(text) => put_long(buffer, text.as_bytes()),
        Value::Symbol(symbol) => put_long(buffer, symbol.as_str().as_bytes()),
        Value::List(values) => {
            put_compound(buffer, values.len(), |buffer| values.iter().for_each(|value| put_value(buffer, value)));
        }
        Value::Map(map) => put_map_body(buffer, map),
        Value::Array(array) => put_array(buffer, array),
        Value::Described(described) => put_bytes(buffer, &described.value),
    }
}

fn put_long(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.put_u32(bytes.len() as u32);
    buffer.put_slice(bytes);
}

fn put_array(buffer: &mut BytesMut, array: &Array) {
    put_compound(buffer, array.values().len(), |buffer| {
        match array.values().first() {
            Some(Value::Described(described)) => {
                buffer.put_u8(0);
                put_value(buffer, &described.descriptor);
                buffer.put_u8(wide_code(&described.value));
            }
            first => buffer.put_u8(first.map_or(0x40, wide_code)),
        }
        array.values().iter().for_each(|value| put_bytes(buffer, value));
    });
}
