//! The listener: TLS with what clients really send, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;

use edgectl_schemas::ids::DeviceId;
use edgectl_simulator::listen::{BindError, bind};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::secure::Listening;

/// Tells each client whether it presented a certificate.
async fn counting() -> Listening {
    Listening::start(|mut stream, certificate, shutdown| async move {
        let _ = stream.write_u8(u8::from(certificate.is_some())).await;
        shutdown.cancelled().await;
        let _ = stream.shutdown().await;
    })
    .await
}

async fn presented(listening: &Listening, config: ClientConfig) -> u8 {
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap().read_u8().await.unwrap()
}

fn configuration(
    listening: &Listening,
    version: &'static SupportedProtocolVersion,
    with_certificate: bool,
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(listening.authority.trust_bundle().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    if !with_certificate {
        return builder.with_no_client_auth();
    }
    // A stranger's: whether the hub knows it is not for the handshake to say.
    let folder = tempfile::tempdir().unwrap();
    let device = DeviceId::new("stranger").unwrap();
    let stranger = edgectl_simulator::authority::Authority::open(folder.path(), &device, Timestamp::now()).unwrap();
    let issued = stranger.issue_server(&["stranger"], Timestamp::now()).unwrap();
    let leaf = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes()).unwrap();
    builder.with_client_auth_cert(vec![leaf], key).unwrap()
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_and_any_client_certificate_is_taken() {
    let listening = counting().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for with_certificate in [false, true] {
            let config = configuration(&listening, version, with_certificate);
            assert_eq!(presented(&listening, config).await, u8::from(with_certificate), "{version:?}");
        }
    }
}

/// A client hello whose server name is replaced by a text of the same length.
fn hello_with_name(listening: &Listening, name: &[u8]) -> Vec<u8> {
    let stand_in = "a".repeat(name.len());
    let server = ServerName::try_from(stand_in.clone()).unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::clone(&listening.tls), server).unwrap().write_tls(&mut hello).unwrap();
    let at = hello.windows(name.len()).position(|window| window == stand_in.as_bytes()).unwrap();
    hello[at..at + name.len()].copy_from_slice(name);
    hello
}

#[tokio::test]
async fn a_server_name_that_is_none_does_not_end_the_handshake() {
    const HANDSHAKE: u8 = 0x16;
    let listening = counting().await;
    // One of the SDKs sends the address as a name.
    for name in [&b"127.0.0.1"[..], b"::1", b"edge.local", b"edge_1.local", b"EDGE-1"] {
        let mut stream = TcpStream::connect(listening.address).await.unwrap();
        stream.write_all(&hello_with_name(&listening, name)).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), HANDSHAKE, "{}", String::from_utf8_lossy(name));
    }
}

#[tokio::test]
async fn shutdown_ends_connections_in_order_and_then_the_listener() {
    let listening = counting().await;
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(&listening.tls)).connect(name, stream).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0);
    // One that never gets as far as to be served.
    let _silent = TcpStream::connect(listening.address).await.unwrap();
    listening.shutdown.cancel();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    listening.accepting.await.unwrap();
    TcpStream::connect(listening.address).await.unwrap_err();
}

#[tokio::test]
async fn who_holds_an_address_is_told() {
    let held = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = held.local_addr().unwrap();
    match bind(address).await {
        Err(BindError::InUse { address: named, .. }) => assert_eq!(named, address),
        other => panic!("{other:?}"),
    }
}
