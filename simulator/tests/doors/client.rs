//! A client that comes through any door.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, Response};
use edgectl_simulator::authority::{Authority, Issued};
use edgectl_simulator::frontend::websocket::ByteStream;
use edgectl_simulator::mqtt::packets::{PacketReader, PacketWriter};
use edgectl_simulator::tls::roots;
use edgectl_wire::mqtt::connect::{ConnAck, Connect, ConnectReturnCode, PROTOCOL_LEVEL};
use edgectl_wire::mqtt::packet::{Packet, PacketId};
use edgectl_wire::mqtt::publish::{Delivery, Publish};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::amqp;
use crate::site::{HOST, Listeners, server_name};

/// Ways into a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Mqtt,
    MqttSocket,
    Amqp,
    AmqpSocket,
    Https,
}

pub const DOORS: [Door; 5] = [Door::Mqtt, Door::MqttSocket, Door::Amqp, Door::AmqpSocket, Door::Https];

/// What a client brings.
#[derive(Clone, Default)]
pub struct Proof {
    pub token: Option<String>,
    pub certificate: Option<Issued>,
}

impl Proof {
    pub fn token(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), certificate: None }
    }

    pub fn certificate(certificate: &Issued) -> Self {
        Self { token: None, certificate: Some(certificate.clone()) }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    /// `CONNACK`'s code.
    NotConnected(ConnectReturnCode),
    /// What AMQP calls it, in the security layer or when a link is refused.
    Unauthorized,
    /// The HTTP status.
    Status(u16),
    /// The connection was closed without a word.
    Closed,
}

/// The bytes of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
pub type AnyStream = Pin<Box<dyn Stream>>;

/// A TLS connection, with a client certificate or without.
pub async fn secure(
    authority: &Authority,
    address: std::net::SocketAddr,
    certificate: Option<&Issued>,
) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots(authority.trust_bundle()).unwrap());
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(server_name(), stream).await.unwrap()
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
pub async fn open(authority: &Authority, at: Listeners, door: Door, certificate: Option<&Issued>) -> AnyStream {
    let protocol = match door {
        Door::Mqtt => return Box::pin(secure(authority, at.mqtt, certificate).await),
        Door::Amqp => return Box::pin(secure(authority, at.amqp, certificate).await),
        Door::MqttSocket => "mqtt",
        Door::AmqpSocket => "AMQPWSB10",
        Door::Https => panic!("nothing stays open behind this door"),
    };
    let mut stream = secure(authority, at.https, certificate).await;
    let head = upgrade(&mut stream, &UPGRADE.replace(": mqtt", &format!(": {protocol}"))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Box::pin(ByteStream::new(stream, Role::Client).await)
}

/// A client of MQTT.
pub struct MqttClient {
    pub reader: PacketReader<ReadHalf<AnyStream>>,
    pub writer: PacketWriter<WriteHalf<AnyStream>>,
}

impl MqttClient {
    /// Connects, or is refused.
    pub async fn connect(stream: AnyStream, identity: &str, token: Option<&str>) -> Result<Self, Outcome> {
        let (read, write) = split(stream);
        let mut client = Self { reader: PacketReader::new(read, 1_000_000), writer: PacketWriter::new(write) };
        client.send(connect(identity, token)).await;
        match client.next().await {
            Some(Packet::ConnAck(ConnAck { code: ConnectReturnCode::Accepted, .. })) => Ok(client),
            Some(Packet::ConnAck(ConnAck { code, .. })) => Err(Outcome::NotConnected(code)),
            _ => Err(Outcome::Closed),
        }
    }

    pub async fn send(&mut self, packet: Packet) {
        self.writer.put(&packet);
        // The hub may have closed it, which the next read tells.
        let _ = self.writer.flush().await;
    }

    /// The next packet; none at the end.
    pub async fn next(&mut self) -> Option<Packet> {
        self.reader.next().await.ok().flatten()
    }

    /// Publishes as an identity, which need not be the client's own.
    pub async fn publish_as(&mut self, identity: &str, body: &str) -> Outcome {
        let topic = format!("devices/{}/messages/events/", identity.replace('/', "/modules/"));
        let delivery = Delivery::AtLeastOnce { id: PacketId::new(1).unwrap(), duplicate: false };
        let payload = Bytes::copy_from_slice(body.as_bytes());
        self.send(Packet::Publish(Publish { topic, payload, delivery, retain: false })).await;
        match self.next().await {
            Some(Packet::PubAck(_)) => Outcome::Taken,
            _ => Outcome::Closed,
        }
    }
}

/// CONNECT of an SDK.
pub fn connect(identity: &str, token: Option<&str>) -> Packet {
    Packet::Connect(Box::new(Connect {
        protocol_level: PROTOCOL_LEVEL,
        clean_session: false,
        keep_alive: 60,
        client_id: identity.to_owned(),
        will: None,
        username: Some(format!("{HOST}/{identity}/?api-version=2021-04-12")),
        password: token.map(|token| Bytes::copy_from_slice(token.as_bytes())),
    }))
}

/// Asks once over HTTPS.
pub async fn ask(
    authority: &Authority,
    at: Listeners,
    certificate: Option<&Issued>,
    request: Request<Body>,
) -> (u16, HeaderMap, Bytes) {
    let stream = secure(authority, at.https, certificate).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driven = tokio::spawn(connection);
    let response: Response<_> = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    drop(sender);
    let _ = driven.await;
    (parts.status.as_u16(), parts.headers, body)
}

/// A message over HTTPS.
pub fn post(identity: &str, token: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let path = format!("/devices/{}/messages/events?api-version=2021-04-12", identity.replace('/', "/modules/"));
    let mut request = Request::post(path).header("Host", "hub");
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    request.body(body.into()).unwrap()
}

/// Sends a message as an identity through a door.
pub async fn send(
    authority: &Authority,
    at: Listeners,
    door: Door,
    identity: &str,
    proof: &Proof,
    body: &str,
) -> Outcome {
    let (token, certificate) = (proof.token.as_deref(), proof.certificate.as_ref());
    match door {
        Door::Mqtt | Door::MqttSocket => {
            let stream = open(authority, at, door, certificate).await;
            match MqttClient::connect(stream, identity, token).await {
                Ok(mut client) => client.publish_as(identity, body).await,
                Err(outcome) => outcome,
            }
        }
        Door::Amqp | Door::AmqpSocket => {
            let stream = open(authority, at, door, certificate).await;
            amqp::send(stream, identity, token, identity, body).await
        }
        Door::Https => match ask(authority, at, certificate, post(identity, token, body.to_owned())).await.0 {
            204 => Outcome::Taken,
            status => Outcome::Status(status),
        },
    }
}
