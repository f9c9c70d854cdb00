//! As much of MQTT 3.1.1 as load needs, independent of the code that is measured.

use std::io::{self, Read, Write};

/// A connection: a plain stream or TLS over one.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A client that has connected.
pub struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// A packet: the first byte and the rest behind the length.
pub struct Packet<'a> {
    pub first: u8,
    pub rest: &'a [u8],
}

impl Client {
    /// Connects as a module of the device `edge`.
    pub fn connect(stream: Box<dyn Stream>, module: &str, clean: bool) -> io::Result<Self> {
        let mut client = Self { stream, buffer: vec![0; 256 * 1024], start: 0, end: 0 };
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        body.extend([4, 0b1100_0000 | u8::from(clean) << 1, 0, 0]);
        text(&mut body, &format!("edge/{module}"));
        text(&mut body, &format!("127.0.0.1/edge/{module}/?api-version=2018-06-30"));
        text(&mut body, "password");
        client.stream.write_all(&packet(0x10, &body))?;
        client.stream.flush()?;
        client.next(|packet| assert_eq!((packet.first, packet.rest[1]), (0x20, 0), "refused"))?;
        Ok(client)
    }

    /// Subscribes with quality 1.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut body = vec![0, 1];
        text(&mut body, filter);
        body.push(1);
        self.send(&packet(0x82, &body))?;
        self.next(|packet| assert_eq!(packet.first, 0x90, "no SUBACK"))
    }

    /// Writes bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Waits for one packet.
    pub fn next<T>(&mut self, mut see: impl FnMut(Packet<'_>) -> T) -> io::Result<T> {
        loop {
            if let Some(seen) = self.take(&mut see) {
                return Ok(seen);
            }
            self.read()?;
        }
    }

    /// Waits for at least one packet and sees all that came with it.
    pub fn drain(&mut self, mut see: impl FnMut(Packet<'_>)) -> io::Result<()> {
        self.next(&mut see)?;
        while self.take(&mut see).is_some() {}
        Ok(())
    }

    fn take<T>(&mut self, see: &mut impl FnMut(Packet<'_>) -> T) -> Option<T> {
        let bytes = &self.buffer[self.start..self.end];
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = usize::from(*bytes.get(at)?);
            length |= (byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let rest = bytes.get(at..at + length)?;
        let seen = see(Packet { first: bytes[0], rest });
        self.start += at + length;
        Some(seen)
    }

    fn read(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let read = self.stream.read(&mut self.buffer[self.end..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        Ok(())
    }
}

/// A packet from its parts.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        bytes.push((length % 128) as u8 | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// A publish of quality 1, of which number and payload are changed in place.
pub struct Template {
    pub bytes: Vec<u8>,
    id: usize,
    number: usize,
}

/// Where in a payload its number stands.
const NUMBER: usize = br#"{"pub":"00","seq":""#.len();
const DIGITS: usize = 10;

impl Template {
    /// A message of `size` bytes from a publisher.
    pub fn new(publisher: usize, size: usize) -> Self {
        let mut body = Vec::new();
        text(
            &mut body,
            &format!(
                "devices/edge/modules/pub{publisher}/messages/events/%24.on=out&%24.ct=application%2Fjson&%24.ce=utf-8"
            ),
        );
        let id = body.len();
        body.extend([0, 1]);
        let payload = body.len();
        body.extend(format!(r#"{{"pub":"{publisher:02}","seq":"{:0DIGITS$}","#, 0).bytes());
        body.extend(br#""machine":{"temperature":85.25,"pressure":7.5,"name":"press \"A\""},"#);
        body.extend(
            br#""ambient":{"temperature":21.5,"humidity":24},"timeCreated":"2026-01-01T00:00:00Z","samples":["#,
        );
        let mut sample = 0;
        while body.len() - payload + 60 < size {
            body.extend(format!(r#"{{"at":{sample},"value":{}.5,"ok":true}},"#, sample * 7 % 100).bytes());
            sample += 1;
        }
        body.extend(br#"null],"note":""#);
        let left = size.saturating_sub(body.len() - payload + 2);
        body.extend(std::iter::repeat_n(b'x', left));
        body.extend(br#""}"#);
        let bytes = packet(0x32, &body);
        let header = bytes.len() - body.len();
        Self { id: header + id, number: header + payload + NUMBER, bytes }
    }

    /// Appends the message with this number.
    pub fn put(&mut self, number: u64, out: &mut Vec<u8>) {
        let id = (number % 65_535 + 1) as u16;
        self.bytes[self.id..self.id + 2].copy_from_slice(&id.to_be_bytes());
        let mut rest = number;
        for digit in self.bytes[self.number..self.number + DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&self.bytes);
    }

    /// The payload alone.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.number - NUMBER..]
    }
}

/// A message as it arrives: what acknowledges it, who sent it and its number there.
pub fn arrived(packet: &Packet<'_>) -> ([u8; 4], usize, u64) {
    let topic = usize::from(u16::from_be_bytes([packet.rest[0], packet.rest[1]]));
    let (id, payload) = packet.rest[2 + topic..].split_at(2);
    let number = |range: std::ops::Range<usize>| payload[range].iter().fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    let publisher = br#"{"pub":""#.len();
    ([0x40, 2, id[0], id[1]], number(publisher..publisher + 2) as usize, number(NUMBER..NUMBER + DIGITS))
}
