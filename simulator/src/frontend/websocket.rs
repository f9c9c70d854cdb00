//! `WebSockets`: what begins as an HTTP request goes on as the bytes of another protocol, in binary messages.
//!
//! The protocol that the client names says which front end serves it; the path does not matter, as with the real edge
//! hub (the SDKs use `/$iothub/websocket`). Messages are no boundaries: a packet may span several, and several may be in
//! one. No extension is agreed on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf as _, Bytes};
use edgectl_hub::clock::Clock;
use futures_util::{Sink, Stream};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::amqp::connection::Hub;
use super::{amqp, mqtt};
use crate::listen::Certificate;

/// The one version of the protocol there is (RFC 6455).
const VERSION: &str = "13";
/// What a server adds to the client's key before it proves that it has read it (RFC 6455, section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a message, or of a frame of one. Both protocols inside have packets of half that at most.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes that are put into one message.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that may wait to be written; beyond them writing waits.
const MAX_WAITING_BYTES: usize = 4 * CHUNK_BYTES;

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subprotocol {
    Mqtt,
    Amqp,
}

impl Subprotocol {
    fn named(name: &str) -> Option<Self> {
        // AMQP's name is that of its WebSocket binding, and some clients use the plain one.
        match name.to_ascii_lowercase().as_str() {
            "mqtt" => Some(Self::Mqtt),
            "amqpwsb10" | "amqp" => Some(Self::Amqp),
            _ => None,
        }
    }
}

/// A connection that is about to become a `WebSocket`.
pub struct Accepted {
    upgrade: OnUpgrade,
    subprotocol: Subprotocol,
}

/// Whether a request is for a `WebSocket`.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    tokens(headers, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// Answers the request. If the connection becomes a `WebSocket`, that comes with the answer.
pub fn accept<B>(request: &mut Request<B>) -> (Response<Body>, Option<Accepted>) {
    match agree(request) {
        Ok((response, subprotocol)) => {
            let accepted = Accepted { upgrade: hyper::upgrade::on(request), subprotocol };
            (response, Some(accepted))
        }
        Err((status, text)) => {
            // The version is told also to those who were refused for something else.
            let version = [(header::SEC_WEBSOCKET_VERSION, VERSION)];
            ((status, version, text).into_response(), None)
        }
    }
}

fn agree<B>(request: &Request<B>) -> Result<(Response<Body>, Subprotocol), (StatusCode, &'static str)> {
    let refused = |text: &'static str| (StatusCode::BAD_REQUEST, text);
    let headers = request.headers();
    if request.method() != Method::GET
        || !tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
    {
        return Err(refused("not the request for a WebSocket"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err((StatusCode::UPGRADE_REQUIRED, "the version is not 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| BASE64.decode(key).is_ok_and(|key| key.len() == 16));
    let Some(key) = key else { return Err(refused("the key is not 16 bytes in base64")) };
    let named = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|name| Some((Subprotocol::named(name)?, HeaderValue::from_str(name).ok()?)));
    let Some((subprotocol, name)) = named else { return Err(refused("no protocol that is spoken here is named")) };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, proof_of(key));
    answer.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    Ok((response, subprotocol))
}

/// The words of a header that is a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn proof_of(key: &HeaderValue) -> HeaderValue {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(KEY_SUFFIX.as_bytes());
    // Base64 is always good for a header.
    HeaderValue::try_from(BASE64.encode(digest.finish())).unwrap_or(HeaderValue::from_static(""))
}

/// Serves a `WebSocket` to its end.
pub async fn serve(
    accepted: Accepted,
    certificate: Certificate,
    hub: Hub,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let upgraded = match accepted.upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return tracing::debug!(%error, "a connection did not become a WebSocket"),
    };
    let stream = ByteStream::new(upgraded, Role::Server).await;
    match accepted.subprotocol {
        Subprotocol::Mqtt => mqtt::connection::serve(stream, certificate, hub.gateway, clock, shutdown).await,
        Subprotocol::Amqp => amqp::connection::serve(stream, certificate, hub, clock, shutdown).await,
    }
}

/// The bytes inside a `WebSocket`.
pub struct ByteStream<S> {
    socket: WebSocketStream<S>,
    /// What is left of the last message.
    rest: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream<S> {
    /// Either end of a connection whose handshake is done.
    pub async fn new(stream: S, role: Role) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES))
            .write_buffer_size(CHUNK_BYTES)
            .max_write_buffer_size(MAX_WAITING_BYTES);
        let socket = WebSocketStream::from_raw_socket(stream, role, Some(config)).await;
        Self { socket, rest: Bytes::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                // The socket answers pings, and the goodbye before its end, when it is read on.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
                None | Some(Err(Error::ConnectionClosed)) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text in a WebSocket")));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let count = buffer.remaining().min(self.rest.len());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(io_error)?;
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let message = Message::Binary(Bytes::copy_from_slice(chunk));
        Pin::new(&mut self.socket).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(io_error)
    }

    /// Says goodbye in the words of each layer.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // If the client has said it first, or is gone, there is nobody to say it to.
        let _ = ready!(Pin::new(&mut self.socket).poll_close(context));
        Pin::new(self.socket.get_mut()).poll_shutdown(context)
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
