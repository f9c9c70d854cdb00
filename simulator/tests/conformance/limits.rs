//! Those who do not finish what they begin, or never stop.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use edgectl_hub::clock::{Clock, SystemClock};
use edgectl_hub::cloud::hub::{CloudHub, CloudHubOptions};
use edgectl_schemas::sas::SharedKey;
use edgectl_simulator::authority::Authority;
use edgectl_simulator::frontend::amqp::connection::Hub;
use edgectl_simulator::frontend::http::serve::{Door, serve};
use edgectl_simulator::listen;
use edgectl_simulator::tls::ServerTls;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::door::upgrade;
use crate::site::{Site, id};

/// A connection in memory, whose time the test has.
fn connection(directory: &tempfile::TempDir) -> DuplexStream {
    let options = CloudHubOptions {
        host: "hub".to_owned(),
        directory: directory.path().to_owned(),
        owner_key: SharedKey::from_bytes(*b"owner"),
    };
    let gateway = CloudHub::open(options, Arc::new(SystemClock)).unwrap();
    let router = Router::new().fallback(async || "here");
    let (near, far) = tokio::io::duplex(64 * 1024);
    let door = Door { router, hub: Hub::of_clients(gateway), clock: Arc::new(SystemClock) };
    tokio::spawn(serve(far, None, door, CancellationToken::new()));
    near
}

async fn rest(mut stream: DuplexStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

const SOON: Duration = Duration::from_mins(2);

#[tokio::test(start_paused = true)]
async fn an_unfinished_request_ends() {
    let directory = tempfile::tempdir().unwrap();
    for (begun, answer) in [
        ("", ""),
        ("GET / HT", ""),
        ("POST / HTTP/1.1\r\nHost: hub\r\nX: ", ""),
        ("POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 408 "),
        ("POST / HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 408 "),
    ] {
        let place = tempfile::tempdir_in(directory.path()).unwrap();
        let mut stream = connection(&place);
        let before = Instant::now();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let said = rest(stream).await;
        assert!(before.elapsed() < SOON, "{begun:?}");
        assert!(said.starts_with(answer), "{begun:?} {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_websocket_in_which_nobody_connects_ends() {
    const HEADERS: &str = crate::door::UPGRADE;
    let directory = tempfile::tempdir().unwrap();
    let mut stream = connection(&directory);
    assert!(upgrade(&mut stream, HEADERS).await.starts_with("HTTP/1.1 101 "));
    let before = Instant::now();
    let mut end = Vec::new();
    stream.read_to_end(&mut end).await.unwrap();
    assert!(before.elapsed() < SOON);
}

#[tokio::test]
async fn what_is_too_long_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    for head in ["Content-Length: 99999999", "Transfer-Encoding: chunked"] {
        let place = tempfile::tempdir_in(directory.path()).unwrap();
        let mut stream = connection(&place);
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: hub\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = tokio::spawn(async move { while writer.write_all(b"5\r\nabcde\r\n").await.is_ok() {} });
        let mut answer = [0; 13];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413 ");
        writing.abort();
    }
}

#[tokio::test]
async fn an_endless_head_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let (mut reader, mut writer) = tokio::io::split(connection(&directory));
    writer.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let writing = tokio::spawn(async move { while writer.write_all(&[b'x'; 1024]).await.is_ok() {} });
    let mut answer = [0; 13];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431 ");
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_finished_ends() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::open(folder.path(), &id("edge").device, Timestamp::now()).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tls = ServerTls::new(&authority, &["127.0.0.1"], &clock).unwrap();
    let listener = listen::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listen::accept(listener, tls, CancellationToken::new(), async |_, _, _| panic!("it was served")));
    // Silent, or in the middle of a record.
    for begun in [&[][..], &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let before = Instant::now();
        stream.write_all(begun).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty() && before.elapsed() < SOON);
    }
}

#[tokio::test]
async fn nothing_is_said_without_tls() {
    let site = Site::start().await;
    for address in site.hubs().into_iter().flat_map(|at| [at.mqtt, at.amqp, at.https]) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
        let mut said = Vec::new();
        // It is closed, with a TLS alert or without.
        let _ = stream.read_to_end(&mut said).await;
        assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
    }
    site.stop().await;
}
