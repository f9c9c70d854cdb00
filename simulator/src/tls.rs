//! TLS as the parts of a device use it: versions 1.2 and 1.3, because one of the client libraries speaks 1.2 alone.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

use crate::authority::Issued;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate, a key or a trust bundle is not PEM of its kind.
    #[error("not a certificate or key in PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Key and certificate do not go together, or are of an unknown kind.
    #[error("the certificates cannot be used")]
    Rustls(#[from] rustls::Error),
}

/// Configures a server with a certificate. Clients are asked for a certificate, but need none; a certificate's owner
/// is proved in the handshake, while whether the hub knows it is for the hub to say, once it knows which client it is.
pub fn server_config(issued: &Issued) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes())?;
    let provider = Arc::new(ring::default_provider());
    let verifier = AnyClientCertificate(provider.signature_verification_algorithms);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// Configures a client that trusts the roots of a bundle, PEM, and no others.
pub fn client_config(trust_bundle: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trust_bundle.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every client certificate whose key the client proves to have.
#[derive(Debug)]
struct AnyClientCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use edgectl_schemas::ids::DeviceId;
    use jiff::Timestamp;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::authority::Authority;

    fn authority() -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let device = DeviceId::new("edge1").unwrap();
        let authority = Authority::open(folder.path(), &device, Timestamp::now()).unwrap();
        (folder, authority)
    }

    async fn shake(server: &Authority, client: &Authority, names: &[&str], host: &str) -> Result<(), std::io::Error> {
        let acceptor =
            TlsAcceptor::from(server_config(&server.issue_server(names, Timestamp::now()).unwrap()).unwrap());
        let connector = TlsConnector::from(client_config(client.trust_bundle()).unwrap());
        let (near, far) = tokio::io::duplex(65_536);
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let serve = async {
            let mut stream = acceptor.accept(far).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        };
        let connect = async {
            let mut text = String::new();
            connector.connect(host, near).await?.read_to_string(&mut text).await?;
            assert_eq!(text, "hello");
            Ok(())
        };
        let (_served, connected) = tokio::join!(serve, connect);
        connected
    }

    #[tokio::test]
    async fn clients_reach_the_names_in_the_certificate_and_no_others() {
        let (_folder, authority) = authority();
        let names = ["edge1.local", "127.0.1.1"];
        shake(&authority, &authority, &names, "edge1.local").await.unwrap();
        shake(&authority, &authority, &names, "127.0.1.1").await.unwrap();
        shake(&authority, &authority, &names, "127.0.1.2").await.unwrap_err();
    }

    #[tokio::test]
    async fn another_root_is_not_trusted() {
        let (_one, one) = authority();
        let (_other, other) = authority();
        shake(&one, &other, &["edge1.local"], "edge1.local").await.unwrap_err();
    }
}
