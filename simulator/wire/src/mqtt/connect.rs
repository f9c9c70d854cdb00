//! CONNECT (3.1) and CONNACK (3.2).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::error::MqttError;
use super::packet::QualityOfService;
use super::reader::Reader;
use super::writer::{put_binary, put_header};

/// The protocol level of MQTT 3.1.1.
pub const PROTOCOL_LEVEL: u8 = 4;

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// [`PROTOCOL_LEVEL`], or a level that a server refuses with [`ConnectReturnCode::ProtocolVersion`].
    pub protocol_level: u8,
    /// Whether the session begins and ends with the connection.
    pub clean_session: bool,
    /// Seconds; 0 for no limit.
    pub keep_alive: u16,
    /// Who connects.
    pub client_id: String,
    /// What is published when the client vanishes.
    pub will: Option<Will>,
    /// Who connects, in the words of the application.
    pub username: Option<String>,
    /// The proof of it.
    pub password: Option<Bytes>,
}

/// A message for the case that the client vanishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub message: Bytes,
    /// How it is sent.
    pub quality: QualityOfService,
    /// Whether it stays with the topic.
    pub retain: bool,
}

/// The answer to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server goes on with a session that it had.
    pub session_present: bool,
    /// Whether the client may stay.
    pub code: ConnectReturnCode,
}

/// How CONNECT is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectReturnCode {
    /// The client may stay.
    Accepted,
    /// The protocol level is not known.
    ProtocolVersion,
    /// The client identifier is not allowed.
    Identifier,
    /// The server cannot serve now.
    ServerUnavailable,
    /// User name or password are malformed.
    Credentials,
    /// The client may not connect.
    NotAuthorized,
}

impl ConnectReturnCode {
    const ALL: [Self; 6] = [
        Self::Accepted,
        Self::ProtocolVersion,
        Self::Identifier,
        Self::ServerUnavailable,
        Self::Credentials,
        Self::NotAuthorized,
    ];

    /// Its number.
    pub fn byte(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::ProtocolVersion => 1,
            Self::Identifier => 2,
            Self::ServerUnavailable => 3,
            Self::Credentials => 4,
            Self::NotAuthorized => 5,
        }
    }
}

impl Connect {
    pub(super) fn decode(mut reader: Reader) -> Result<Self, MqttError> {
        // The level before the rest: what follows may differ in other versions.
        if reader.binary()?.as_ref() != b"MQTT" {
            return Err(MqttError::ProtocolName);
        }
        let protocol_level = reader.byte()?;
        if protocol_level != PROTOCOL_LEVEL {
            return Ok(Self::of_another_version(protocol_level));
        }
        let flags = reader.byte()?;
        let (has_will, has_username, has_password) = (flags & 0x04 != 0, flags & 0x80 != 0, flags & 0x40 != 0);
        let quality = QualityOfService::from_bits((flags >> 3) & 0x03).ok_or(MqttError::ConnectFlags)?;
        let will_without_will = !has_will && flags & 0x38 != 0;
        if flags & 0x01 != 0 || will_without_will || (has_password && !has_username) {
            return Err(MqttError::ConnectFlags);
        }
        let keep_alive = reader.number()?;
        let client_id = reader.text()?;
        let will = if has_will {
            let (topic, message) = (reader.text()?, reader.binary()?);
            Some(Will { topic, message, quality, retain: flags & 0x20 != 0 })
        } else {
            None
        };
        let username = has_username.then(|| reader.text()).transpose()?;
        let password = has_password.then(|| reader.binary()).transpose()?;
        reader.finish()?;
        let clean_session = flags & 0x02 != 0;
        Ok(Self { protocol_level, clean_session, keep_alive, client_id, will, username, password })
    }

    fn of_another_version(protocol_level: u8) -> Self {
        Self {
            protocol_level,
            clean_session: true,
            keep_alive: 0,
            client_id: String::new(),
            will: None,
            username: None,
            password: None,
        }
    }

    pub(super) fn encode(&self, buffer: &mut BytesMut) -> Result<(), MqttError> {
        let mut body = BytesMut::new();
        put_binary(&mut body, b"MQTT")?;
        body.put_u8(self.protocol_level);
        let mut flags = u8::from(self.clean_session) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | (will.quality.bits() << 3) | (u8::from(will.retain) << 5);
        }
        flags |= u8::from(self.username.is_some()) << 7;
        flags |= u8::from(self.password.is_some() && self.username.is_some()) << 6;
        body.put_u8(flags);
        body.put_u16(self.keep_alive);
        put_binary(&mut body, self.client_id.as_bytes())?;
        if let Some(will) = &self.will {
            put_binary(&mut body, will.topic.as_bytes())?;
            put_binary(&mut body, &will.message)?;
        }
        if let Some(username) = &self.username {
            put_binary(&mut body, username.as_bytes())?;
            if let Some(password) = &self.password {
                put_binary(&mut body, password)?;
            }
        }
        put_header(buffer, 0x10, body.len())?;
        buffer.put_slice(&body);
        Ok(())
    }
}

impl ConnAck {
    pub(super) fn decode(mut reader: Reader) -> Result<Self, MqttError> {
        let (flags, code) = (reader.byte()?, reader.byte()?);
        reader.finish()?;
        if flags & 0xfe != 0 {
            return Err(MqttError::Header(flags));
        }
        let code =
            ConnectReturnCode::ALL.into_iter().find(|known| known.byte() == code).ok_or(MqttError::ReturnCode(code))?;
        Ok(Self { session_present: flags == 1, code })
    }

    pub(super) fn encode(self, buffer: &mut BytesMut) -> Result<(), MqttError> {
        put_header(buffer, 0x20, 2)?;
        buffer.put_u8(u8::from(self.session_present));
        buffer.put_u8(self.code.byte());
        Ok(())
    }
}
