//! TLS as the parts of a device use it: versions 1.2 and 1.3, because one of the client libraries speaks 1.2 alone.

use std::sync::Arc;

use edgectl_hub::clock::Clock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::any_client_certificate::AnyClientCertificate;
use crate::authority::{Authority, AuthorityError};
use crate::client_certificate::CertificateReader;
use crate::server_certificate::ServerCertificate;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate, a key or a trust bundle is not PEM of its kind.
    #[error("not a certificate or key in PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Key and certificate do not go together, or are of an unknown kind.
    #[error("the certificates cannot be used")]
    Rustls(#[from] rustls::Error),
    /// There is no authority to trust.
    #[error("the trust bundle cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// What a listener needs for TLS.
pub struct ServerTls {
    /// Versions, certificate, and what is asked of clients.
    pub config: Arc<ServerConfig>,
    /// Reads what clients present.
    pub clients: CertificateReader,
    /// The time, by which certificates end and handshakes take too long.
    pub clock: Arc<dyn Clock>,
}

impl ServerTls {
    /// Serves under some names with certificates of an authority, whose root may vouch for clients too. Clients are asked
    /// for a certificate, but need none; a certificate's owner is proved in the handshake, while whether the hub knows it
    /// is for the hub to say, once it knows which client it is.
    pub fn new(authority: &Arc<Authority>, names: &[&str], clock: &Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let certificate =
            ServerCertificate::new(Arc::clone(authority), names, Arc::clone(&provider), Arc::clone(clock))?;
        let clients = CertificateReader::new(authority.trust_bundle(), Arc::clone(&provider), Arc::clone(clock))?;
        let verifier = AnyClientCertificate::new(provider.signature_verification_algorithms);
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(certificate));
        Ok(Arc::new(Self { config: Arc::new(config), clients, clock: Arc::clone(clock) }))
    }
}

/// Configures a client that trusts the roots of a bundle, PEM, and no others.
pub fn client_config(trust_bundle: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_root_certificates(roots(trust_bundle)?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The roots of a bundle, PEM.
pub fn roots(trust_bundle: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trust_bundle.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use edgectl_hub::clock::SystemClock;
    use edgectl_hub::hand_clock::HandClock;
    use edgectl_schemas::ids::DeviceId;
    use jiff::Timestamp;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
    use x509_parser::certificate::X509Certificate;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn authority(folder: &Path) -> Arc<Authority> {
        Arc::new(Authority::open(folder, &DeviceId::new("edge1").unwrap(), Timestamp::now()).unwrap())
    }

    fn served(authority: &Arc<Authority>, clock: Arc<dyn Clock>) -> Arc<ServerTls> {
        ServerTls::new(authority, &["edge1.local", "127.0.1.1"], &clock).unwrap()
    }

    type Ends = (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>);

    async fn shake(server: &ServerTls, client: &Authority, host: &str) -> Result<Ends, std::io::Error> {
        let acceptor = TlsAcceptor::from(Arc::clone(&server.config));
        let connector = TlsConnector::from(client_config(client.trust_bundle()).unwrap());
        let (near, far) = tokio::io::duplex(65_536);
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let (served, connected) = tokio::join!(acceptor.accept(far), connector.connect(host, near));
        Ok((connected?, served?))
    }

    async fn says_hello((mut client, mut server): Ends) {
        server.write_all(b"hello").await.unwrap();
        server.flush().await.unwrap();
        let mut text = [0; 5];
        client.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"hello");
    }

    #[tokio::test]
    async fn clients_reach_the_names_in_the_certificate_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let server = served(&authority, Arc::new(SystemClock));
        says_hello(shake(&server, &authority, "edge1.local").await.unwrap()).await;
        says_hello(shake(&server, &authority, "127.0.1.1").await.unwrap()).await;
        shake(&server, &authority, "127.0.1.2").await.unwrap_err();
    }

    #[tokio::test]
    async fn another_root_is_not_trusted() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let server = served(&authority(one.path()), Arc::new(SystemClock));
        shake(&server, &authority(other.path()), "edge1.local").await.unwrap_err();
    }

    fn shown((client, _): &Ends) -> CertificateDer<'static> {
        client.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    #[tokio::test]
    async fn the_certificate_is_made_anew_before_it_ends_and_connections_stay() {
        const DAYS: Duration = Duration::from_hours(25 * 24);
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        // Clients go by the machine's clock.
        let clock = HandClock::begin();
        clock.set_back(DAYS);
        let server = served(&authority, Arc::clone(&clock) as _);
        let early = shake(&server, &authority, "edge1.local").await.unwrap();
        let again = shake(&server, &authority, "edge1.local").await.unwrap();
        assert_eq!(shown(&early), shown(&again));
        clock.advance(DAYS);
        let late = shake(&server, &authority, "edge1.local").await.unwrap();
        assert_ne!(shown(&early), shown(&late));
        says_hello(early).await;
    }

    #[tokio::test]
    async fn the_certificate_is_made_anew_when_the_clock_was_set_back() {
        const DAYS: Duration = Duration::from_hours(5 * 24);
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let clock = HandClock::begin();
        let server = served(&authority, Arc::clone(&clock) as _);
        let before = shake(&server, &authority, "edge1.local").await.unwrap();
        clock.set_back(DAYS);
        let after = shake(&server, &authority, "edge1.local").await.unwrap();
        assert_ne!(shown(&before), shown(&after));
        let now = i64::try_from(clock.now_ms() / 1000).unwrap();
        for certificate in after.0.get_ref().1.peer_certificates().unwrap() {
            let (_, read) = X509Certificate::from_der(certificate).unwrap();
            assert!(read.validity().not_before.timestamp() < now, "{}", read.subject());
        }
        let again = shake(&server, &authority, "edge1.local").await.unwrap();
        assert_eq!(shown(&after), shown(&again));
        says_hello(before).await;
    }
}
