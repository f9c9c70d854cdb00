//! Packets over a byte stream.

use std::io;

use bytes::BytesMut;
use edgectl_wire::mqtt::codec::{decode, encode};
use edgectl_wire::mqtt::error::MqttError;
use edgectl_wire::mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// The stream ended or holds no packets.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The other side sent what is no packet.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads packets.
pub struct PacketReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// Reads packets of at most `limit` bytes.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), limit }
    }

    /// The next packet; none at the end of the stream. May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Result<Option<Packet>, PacketError> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(Some(packet));
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next packet if it has been read already.
    pub fn buffered(&mut self) -> Result<Option<Packet>, PacketError> {
        Ok(decode(&mut self.buffer, self.limit)?)
    }
}

/// Writes packets.
pub struct PacketWriter<W> {
    stream: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    /// Writes to this stream.
    pub fn new(stream: W) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Adds a packet to what the next flush writes. One that has no bytes in MQTT is dropped.
    pub fn put(&mut self, packet: &Packet) {
        if let Err(error) = encode(packet, &mut self.buffer) {
            tracing::warn!(%error, "a packet is dropped");
        }
    }

    /// Adds packets.
    pub fn put_all(&mut self, packets: impl IntoIterator<Item = Packet>) {
        for packet in packets {
            self.put(&packet);
        }
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.buffer).await?;
        self.stream.flush().await
    }

    /// Ends the stream, so that the other side sees an end and no break.
    pub async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}
