//! The ways into a hub: real TLS over loopback, with a `WebSocket` in it or not, and single requests over HTTPS.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response};
use edgectl_simulator::authority::{Authority, Issued};
use edgectl_simulator::frontend::websocket::ByteStream;
use edgectl_simulator::tls::roots;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::site::{Listeners, server_name};

/// Protocols, each with its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Mqtt,
    MqttSocket,
    Amqp,
    AmqpSocket,
    Https,
}

pub const DOORS: [Door; 5] = [Door::Mqtt, Door::MqttSocket, Door::Amqp, Door::AmqpSocket, Door::Https];

/// In names of identities.
impl std::fmt::Display for Door {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Mqtt => "mqtt",
            Self::MqttSocket => "mqtt-ws",
            Self::Amqp => "amqp",
            Self::AmqpSocket => "amqp-ws",
            Self::Https => "https",
        })
    }
}

/// What a client shows in the TLS handshake, and which versions it speaks.
#[derive(Clone, Copy, Default)]
pub struct Handshake<'a> {
    pub certificate: Option<&'a Issued>,
    /// The only version; all if there is none.
    pub version: Option<&'static SupportedProtocolVersion>,
}

/// The bytes of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
pub type AnyStream = Pin<Box<dyn Stream>>;

/// Longer than anything takes: a client that waits for what never comes says so instead of waiting for ever.
const FOREVER: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER, what).await.expect("it happens")
}

/// A TLS connection.
pub async fn secure(
    authority: &Authority,
    address: std::net::SocketAddr,
    handshake: Handshake<'_>,
) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = handshake.version.map_or(rustls::ALL_VERSIONS.to_vec(), |version| vec![version]);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots(authority.trust_bundle()).unwrap());
    let config = match handshake.certificate {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(server_name(), stream).await.unwrap();
    if let Some(version) = handshake.version {
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    stream
}

/// Asks for a `WebSocket` and reads the head of the answer.
pub async fn upgrade<S: Stream>(stream: &mut S, headers: &str) -> String {
    let request = format!("GET /$iothub/websocket?iothub-no-client-cert=true HTTP/1.1\r\nHost: hub\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// What the SDKs ask for a `WebSocket` with.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// A connection for MQTT or AMQP.
pub async fn open(authority: &Authority, at: Listeners, door: Door, handshake: Handshake<'_>) -> AnyStream {
    let protocol = match door {
        Door::Mqtt => return Box::pin(secure(authority, at.mqtt, handshake).await),
        Door::Amqp => return Box::pin(secure(authority, at.amqp, handshake).await),
        Door::MqttSocket => "mqtt",
        Door::AmqpSocket => "AMQPWSB10",
        Door::Https => panic!("nothing stays open behind this door"),
    };
    let mut stream = secure(authority, at.https, handshake).await;
    let head = upgrade(&mut stream, &UPGRADE.replace(": mqtt", &format!(": {protocol}"))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Box::pin(ByteStream::new(stream, Role::Client).await)
}

/// Asks once over HTTPS.
pub async fn ask(
    authority: &Authority,
    at: Listeners,
    handshake: Handshake<'_>,
    request: Request<Body>,
) -> (u16, HeaderMap, Bytes) {
    let stream = secure(authority, at.https, handshake).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driven = tokio::spawn(connection);
    let response: Response<_> = soon(sender.send_request(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    drop(sender);
    let _ = driven.await;
    (parts.status.as_u16(), parts.headers, body)
}
