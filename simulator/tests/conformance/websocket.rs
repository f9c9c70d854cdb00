//! The handshake of a `WebSocket`, and what is inside.

use bytes::BytesMut;
use edgectl_wire::mqtt::codec::{decode, encode};
use edgectl_wire::mqtt::connect::{ConnAck, ConnectReturnCode};
use edgectl_wire::mqtt::packet::Packet;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::clients::mqtt::connect;
use crate::door::{Handshake, UPGRADE, secure, upgrade};
use crate::site::Site;

async fn open(site: &Site) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut stream = secure(&site.authority, site.edge_at.https, Handshake::default()).await;
    upgrade(&mut stream, UPGRADE).await;
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

fn bytes(packets: &[Packet]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for packet in packets {
        encode(packet, &mut bytes).unwrap();
    }
    bytes
}

/// What comes back, with the kinds of messages that are not bytes.
async fn packets(socket: &mut WebSocketStream<TlsStream<TcpStream>>, count: usize) -> Vec<Packet> {
    let (mut packets, mut buffer) = (Vec::new(), BytesMut::new());
    while packets.len() < count {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => buffer.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
        while let Some(packet) = decode(&mut buffer, 1_000_000).unwrap() {
            packets.push(packet);
        }
    }
    packets
}

#[tokio::test]
async fn the_answer_proves_that_the_request_was_read() {
    let site = Site::start().await;
    for at in site.hubs() {
        let mut stream = secure(&site.authority, at.https, Handshake::default()).await;
        let head = upgrade(&mut stream, UPGRADE).await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        // The example of RFC 6455, section 1.3.
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
        assert!(head.contains("sec-websocket-protocol: mqtt\r\n"), "{head}");
        assert!(!head.contains("sec-websocket-extensions"), "{head}");
    }
    site.stop().await;
}

#[tokio::test]
async fn requests_that_ask_for_something_else_are_refused() {
    let site = Site::start().await;
    let without = |line: &str| UPGRADE.split_inclusive("\r\n").filter(|l| !l.starts_with(line)).collect::<String>();
    for (headers, status) in [
        (without("Sec-WebSocket-Protocol"), 400),
        (UPGRADE.replace(": mqtt", ": soap"), 400),
        (without("Sec-WebSocket-Key"), 400),
        (UPGRADE.replace("dGhl", "dGh"), 400),
        (without("Connection"), 400),
        (without("Sec-WebSocket-Version"), 426),
        (UPGRADE.replace("Version: 13", "Version: 8"), 426),
    ] {
        let mut stream = secure(&site.authority, site.edge_at.https, Handshake::default()).await;
        let head = upgrade(&mut stream, &headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{head}");
    }
    let mut stream = secure(&site.authority, site.edge_at.https, Handshake::default()).await;
    let several = UPGRADE.replace(": mqtt", ": soap, MQTT");
    assert!(upgrade(&mut stream, &several).await.contains("sec-websocket-protocol: MQTT\r\n"));
    let mut stream = secure(&site.authority, site.edge_at.https, Handshake::default()).await;
    let amqp = UPGRADE.replace(": mqtt", ": AMQPWSB10");
    assert!(upgrade(&mut stream, &amqp).await.contains("sec-websocket-protocol: AMQPWSB10\r\n"));
    site.stop().await;
}

#[tokio::test]
async fn messages_are_no_boundaries() {
    let site = Site::start().await;
    let token = site.token("edge/m1");
    let mut socket = open(&site).await;
    for byte in bytes(&[connect("edge/m1", Some(&token))]) {
        socket.feed(Message::binary(vec![byte])).await.unwrap();
    }
    socket.flush().await.unwrap();
    let accepted = Packet::ConnAck(ConnAck { session_present: false, code: ConnectReturnCode::Accepted });
    assert_eq!(packets(&mut socket, 1).await, [accepted]);
    socket.send(Message::binary(bytes(&[Packet::PingReq, Packet::PingReq]).to_vec())).await.unwrap();
    assert_eq!(packets(&mut socket, 2).await, [Packet::PingResp, Packet::PingResp]);
    site.stop().await;
}

#[tokio::test]
async fn the_sockets_own_messages_are_answered() {
    let site = Site::start().await;
    let mut socket = open(&site).await;
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    socket.send(Message::Close(None)).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
    site.stop().await;
}

#[tokio::test]
async fn texts_and_endless_messages_end_it() {
    let site = Site::start().await;
    for message in [Message::text("CONNECT"), Message::binary(vec![0x10; 2 * 1024 * 1024])] {
        let mut socket = open(&site).await;
        // The hub may hang up before all is sent.
        let _ = socket.send(message).await;
        while let Some(Ok(received)) = socket.next().await {
            assert!(matches!(received, Message::Close(_)), "{received:?}");
        }
    }
    site.stop().await;
}
