//! The byte stream of one connection, read and written by one task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use edgectl_wire::mqtt::codec::{decode, encode};
use edgectl_wire::mqtt::packet::Packet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::mqtt::packets::PacketError;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where all connections of a thread read to, so that one that says nothing holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What happened on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Bytes came.
    Read,
    /// All that waited is written.
    Written,
    /// The other side says no more.
    Ended,
}

/// Packets over a byte stream, both ways.
pub struct PacketStream<S> {
    stream: S,
    incoming: BytesMut,
    outgoing: BytesMut,
    is_flushed: bool,
    limit: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PacketStream<S> {
    /// A stream with packets of at most `limit` bytes.
    pub fn new(stream: S, limit: usize) -> Self {
        Self { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), is_flushed: true, limit }
    }

    /// The next packet, if all of it was read.
    pub fn buffered(&mut self) -> Result<Option<Packet>, PacketError> {
        Ok(decode(&mut self.incoming, self.limit)?)
    }

    /// Waits for the next packet; none at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Packet>, PacketError> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(Some(packet));
            }
            if self.exchange(true).await? == Exchange::Ended {
                return Ok(None);
            }
        }
    }

    /// Adds a packet to what is written next. One that has no bytes in MQTT is dropped.
    pub fn put(&mut self, packet: &Packet) {
        if let Err(error) = encode(packet, &mut self.outgoing) {
            tracing::warn!(%error, "a packet is dropped");
        }
    }

    /// Adds the bytes of packets to what is written next.
    pub fn put_bytes(&mut self, bytes: BytesMut) {
        if self.outgoing.is_empty() {
            self.outgoing = bytes;
        } else {
            self.outgoing.extend_from_slice(&bytes);
        }
    }

    /// Whether all is written.
    pub fn is_written(&self) -> bool {
        self.outgoing.is_empty() && self.is_flushed
    }

    /// How many bytes wait to be written.
    pub fn unwritten(&self) -> usize {
        self.outgoing.len()
    }

    /// Writes what waits and, if asked to, reads; until something came, or nothing waits any more. May be dropped and called
    /// again without losing anything.
    pub async fn exchange(&mut self, reading: bool) -> io::Result<Exchange> {
        let writing = !self.is_written();
        poll_fn(|context| {
            let written = self.poll_write(context)?;
            if reading && let Poll::Ready(exchange) = self.poll_read(context)? {
                return Poll::Ready(Ok(exchange));
            }
            if writing && written.is_ready() { Poll::Ready(Ok(Exchange::Written)) } else { Poll::Pending }
        })
        .await
    }

    /// Writes what waits and ends the stream, so that the other side sees an end and no break.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_write(context)).await?;
        poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Exchange>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            self.incoming.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(if buffer.filled().is_empty() { Exchange::Ended } else { Exchange::Read }))
        })
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            self.is_flushed = false;
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_flushed = true;
            self.outgoing = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}
