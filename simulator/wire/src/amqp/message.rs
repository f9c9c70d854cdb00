//! Messages: sections in order (3.2).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::composite::{Fields, List};
use super::error::AmqpError;
use super::properties::{PROPERTIES, Properties};
use super::reader::Reader;
use super::value::{Map, Value};
use super::writer::{put_map, put_value, put_variable};

/// The format of a message whose data sections are messages of their own: a batch of telemetry.
pub const BATCH_FORMAT: u32 = 0x8001_3700;

const HEADER: u8 = 0x70;
const DELIVERY_ANNOTATIONS: u8 = 0x71;
const MESSAGE_ANNOTATIONS: u8 = 0x72;
const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;
const SEQUENCE: u8 = 0x76;
const VALUE: u8 = 0x77;
const FOOTER: u8 = 0x78;

/// A message with all that is written on it. A section without content is the same as none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AnnotatedMessage {
    /// How it is to be handled.
    pub header: Option<Header>,
    /// For the next node alone.
    pub delivery_annotations: Map,
    /// For all nodes on the way.
    pub message_annotations: Map,
    /// What all know.
    pub properties: Properties,
    /// What the application adds.
    pub application_properties: Map,
    /// What it says.
    pub body: Body,
    /// What can only be known at the end.
    pub footer: Map,
}

/// How a message is to be handled (3.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whether it must not be lost.
    pub durable: bool,
    /// Higher goes before lower.
    pub priority: u8,
    /// Milliseconds that it lives.
    pub ttl: Option<u32>,
    /// Whether nobody acquired it before.
    pub first_acquirer: bool,
    /// Deliveries that failed.
    pub delivery_count: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self { durable: false, priority: 4, ttl: None, first_acquirer: false, delivery_count: 0 }
    }
}

/// What a message says: sections of one kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes.
    Data(Vec<Bytes>),
    /// Lists of values.
    Sequence(Vec<Vec<Value>>),
    /// A value.
    Value(Value),
}

impl AnnotatedMessage {
    /// A message of bytes and nothing else.
    pub fn of_data(bytes: impl Into<Bytes>) -> Self {
        Self { body: Body::Data(vec![bytes.into()]), ..Self::default() }
    }

    /// Reads the bytes of a message.
    pub fn decode(bytes: Bytes) -> Result<Self, AmqpError> {
        let mut reader = Reader::new(bytes);
        let mut message = Self::default();
        let mut last = 0;
        while !reader.is_empty() {
            let (code, section) = reader.described()?;
            let code = u8::try_from(code).map_err(|_| AmqpError::Descriptor)?;
            let repeated = code == last && matches!(code, DATA | SEQUENCE);
            if code <= last && !repeated {
                return Err(AmqpError::Sections);
            }
            last = code;
            message.take(code, section)?;
        }
        Ok(message)
    }

    fn take(&mut self, code: u8, section: Value) -> Result<(), AmqpError> {
        match (code, section) {
            (HEADER, Value::List(fields)) => self.header = Some(Header::read(Fields::of(fields))?),
            (DELIVERY_ANNOTATIONS, Value::Map(map)) => self.delivery_annotations = map,
            (MESSAGE_ANNOTATIONS, Value::Map(map)) => self.message_annotations = map,
            (PROPERTIES, Value::List(fields)) => self.properties = Properties::read(Fields::of(fields))?,
            (APPLICATION_PROPERTIES, Value::Map(map)) => self.application_properties = map,
            (FOOTER, Value::Map(map)) => self.footer = map,
            (DATA | SEQUENCE | VALUE, section) => self.body.add(code, section)?,
            _ => return Err(AmqpError::Descriptor),
        }
        Ok(())
    }

    /// Appends the bytes of the message.
    pub fn encode(&self, buffer: &mut BytesMut) {
        if let Some(header) = &self.header {
            header.write(buffer);
        }
        put_section(buffer, DELIVERY_ANNOTATIONS, &self.delivery_annotations);
        put_section(buffer, MESSAGE_ANNOTATIONS, &self.message_annotations);
        self.properties.write(buffer);
        put_section(buffer, APPLICATION_PROPERTIES, &self.application_properties);
        self.body.write(buffer);
        put_section(buffer, FOOTER, &self.footer);
    }

    /// The bytes of the message.
    pub fn to_bytes(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        self.encode(&mut buffer);
        buffer.freeze()
    }
}

impl Header {
    fn read(mut fields: Fields) -> Result<Self, AmqpError> {
        let default = Self::default();
        Ok(Self {
            durable: fields.boolean("durable")?.unwrap_or(default.durable),
            priority: fields.ubyte("priority")?.unwrap_or(default.priority),
            ttl: fields.uint("ttl")?,
            first_acquirer: fields.boolean("first-acquirer")?.unwrap_or(default.first_acquirer),
            delivery_count: fields.uint("delivery-count")?.unwrap_or(default.delivery_count),
        })
    }

    fn write(&self, buffer: &mut BytesMut) {
        let mut list = List::begin(buffer, HEADER);
        list.boolean(self.durable).ubyte(self.priority).uint(self.ttl);
        list.boolean(self.first_acquirer).uint(self.delivery_count);
        list.end();
    }
}

impl Body {
    fn add(&mut self, code: u8, section: Value) -> Result<(), AmqpError> {
        match (code, section, &mut *self) {
            (DATA, Value::Binary(bytes), Self::Data(sections)) => sections.push(bytes),
            (DATA, Value::Binary(bytes), Self::Empty) => *self = Self::Data(vec![bytes]),
            (SEQUENCE, Value::List(values), Self::Sequence(sections)) => sections.push(values),
            (SEQUENCE, Value::List(values), Self::Empty) => *self = Self::Sequence(vec![values]),
            (VALUE, value, Self::Empty) => *self = Self::Value(value),
            (_, _, Self::Empty) => return Err(AmqpError::Descriptor),
            _ => return Err(AmqpError::Sections),
        }
        Ok(())
    }

    fn write(&self, buffer: &mut BytesMut) {
        match self {
            Self::Empty => {}
            Self::Data(sections) => {
                for bytes in sections {
                    put_descriptor(buffer, DATA);
                    put_variable(buffer, 0xa0, bytes);
                }
            }
            Self::Sequence(sections) => {
                for values in sections {
                    put_descriptor(buffer, SEQUENCE);
                    put_value(buffer, &Value::List(values.clone()));
                }
            }
            Self::Value(value) => {
                put_descriptor(buffer, VALUE);
                put_value(buffer, value);
            }
        }
    }
}

fn put_descriptor(buffer: &mut BytesMut, code: u8) {
    buffer.put_slice(&[0x00, 0x53, code]);
}

fn put_section(buffer: &mut BytesMut, code: u8, map: &Map) {
    if !map.is_empty() {
        put_descriptor(buffer, code);
        put_map(buffer, map);
    }
}
