//! Frames over a byte stream.

use std::io;

use bytes::BytesMut;
use edgectl_wire::amqp::error::AmqpError;
use edgectl_wire::amqp::frame::{Frame, ProtocolHeader, decode, encode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// The stream ended or holds no frames.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side sent what is no frame.
    #[error(transparent)]
    Amqp(#[from] AmqpError),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames.
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most `limit` bytes.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), limit }
    }

    /// The next protocol header; none at the end of the stream.
    pub async fn header(&mut self) -> Result<Option<ProtocolHeader>, FrameError> {
        loop {
            if let Some(header) = ProtocolHeader::decode(&mut self.buffer)? {
                return Ok(Some(header));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame; none at the end of the stream. May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame if it has been read already.
    pub fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        Ok(decode(&mut self.buffer, self.limit)?)
    }

    async fn read(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

/// Writes frames.
pub struct FrameWriter<W> {
    stream: W,
    buffer: BytesMut,
    /// Whether something was written that the stream may still hold.
    unflushed: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to this stream.
    pub fn new(stream: W) -> Self {
        Self { stream, buffer: BytesMut::new(), unflushed: false }
    }

    /// Adds a protocol header to what is to be written.
    pub fn put_header(&mut self, header: ProtocolHeader) {
        self.buffer.extend_from_slice(header.bytes());
    }

    /// Adds a frame to what is to be written.
    pub fn put(&mut self, frame: &Frame) {
        encode(frame, &mut self.buffer);
    }

    /// Bytes that are to be written.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Whether everything was written.
    pub fn is_done(&self) -> bool {
        self.buffer.is_empty() && !self.unflushed
    }

    /// Writes as much as the stream takes at once. May be dropped and called again without losing anything.
    pub async fn write_some(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.stream.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        self.unflushed = true;
        match self.stream.write_buf(&mut self.buffer).await {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes everything.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.is_done() {
            self.write_some().await?;
        }
        Ok(())
    }

    /// Ends the stream, so that the other side sees an end and no break.
    pub async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}
