//! The proof that a client has the key of the certificate that it presents, whatever certificate that is.
//!
//! The TLS library reads certificates of X.509 version 3 alone. Devices that a hub knows by thumbprint often have one of
//! version 1, which `openssl x509 -req` makes. Of such a certificate nothing but the key is needed here, and the key's
//! signature is checked as that of any other.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme, crypto,
};
use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Version};

/// Takes every client certificate whose key the client proves to have.
#[derive(Debug)]
pub struct AnyClientCertificate(WebPkiSupportedAlgorithms);

impl AnyClientCertificate {
    /// Checks signatures of some algorithms.
    pub fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self(algorithms)
    }

    /// Checks a signature as TLS 1.2 has them: its scheme does not tell the curve, so each algorithm of the scheme that is
    /// one for the key may have made it.
    fn verify_tls12_with_key(
        &self,
        message: &[u8],
        key: &SubjectPublicKeyInfo<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, algorithms) = (self.0.mapping.iter())
            .find(|(scheme, _)| *scheme == signature.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let key_kind = algorithm(key).ok_or(CertificateError::BadEncoding)?;
        let is_signed =
            algorithms.iter().filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key_kind).any(|algorithm| {
                let verified = algorithm.verify_signature(&key.subject_public_key.data, message, signature.signature());
                verified.is_ok()
            });
        if is_signed { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
    }
}

/// The key of a certificate of X.509 version 1; none of another one.
fn first_version_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfo<'a>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    (parsed.version() == X509Version::V1).then_some(parsed.tbs_certificate.subject_pki)
}

/// What kind of key it is: the inside of its algorithm identifier, DER.
fn algorithm<'a>(key: &SubjectPublicKeyInfo<'a>) -> Option<&'a [u8]> {
    let (_, whole) = Any::from_der(key.raw).ok()?;
    let (_, algorithm) = Any::from_der(whole.data).ok()?;
    Some(algorithm.data)
}

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
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match first_version_key(certificate) {
            Some(key) => self.verify_tls12_with_key(message, &key, signature),
            None => crypto::verify_tls12_signature(message, certificate, signature, &self.0),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match first_version_key(certificate) {
            Some(key) => {
                let key = SubjectPublicKeyInfoDer::from(key.raw);
                verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
            }
            None => crypto::verify_tls13_signature(message, certificate, signature, &self.0),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edgectl_hub::clock::SystemClock;
    use edgectl_schemas::ids::DeviceId;
    use jiff::Timestamp;
    use rustls::client::ResolvesClientCert;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::sign::CertifiedKey;
    use rustls::{ClientConfig, SupportedProtocolVersion, version};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::authority::Authority;
    use crate::client_certificate::CertificateReader;
    use crate::thumbprint::thumbprints;
    use crate::tls::{ServerTls, roots};

    /// Made by `openssl x509 -req -signkey`: a certificate of version 1, and its key.
    const OLD: [&str; 2] =
        [include_str!("../tests/fixtures/version_1_rsa.pem"), include_str!("../tests/fixtures/version_1_ec.pem")];

    /// Presents a certificate that the library itself would not, being of version 1.
    #[derive(Debug)]
    struct Presents(Arc<CertifiedKey>);

    impl ResolvesClientCert for Presents {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    fn certificate(text: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
    }

    /// Whether a client that presents a certificate and signs with a key gets through.
    async fn is_served(version: &'static SupportedProtocolVersion, presented: &str, key: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &DeviceId::new("edge1").unwrap(), Timestamp::now()).unwrap();
        let authority = Arc::new(authority);
        let server = ServerTls::new(&authority, &["edge1"], &(Arc::new(SystemClock) as _)).unwrap();
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let presents = Presents(Arc::new(CertifiedKey::new(vec![certificate(presented)], key)));
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(authority.trust_bundle()).unwrap())
            .with_client_cert_resolver(Arc::new(presents));
        let (near, far) = tokio::io::duplex(65_536);
        let connector = TlsConnector::from(Arc::new(config));
        let acceptor = TlsAcceptor::from(Arc::clone(&server.config));
        let connecting = connector.connect(ServerName::try_from("edge1").unwrap(), near);
        // With version 1.3 only the serving end knows.
        let (served, _connected) = tokio::join!(acceptor.accept(far), connecting);
        served.is_ok()
    }

    #[tokio::test]
    async fn a_certificate_of_version_1_is_taken_from_who_has_its_key_and_from_nobody_else() {
        for version in [&version::TLS12, &version::TLS13] {
            for (old, other) in [(OLD[0], OLD[1]), (OLD[1], OLD[0])] {
                assert!(is_served(version, old, old).await);
                assert!(!is_served(version, old, other).await);
            }
            let same_kind = rcgen::KeyPair::generate().unwrap().serialize_pem();
            assert!(!is_served(version, OLD[1], &same_kind).await);
        }
    }

    #[test]
    fn a_hub_gets_its_facts_and_nobody_vouches_for_it() {
        let old = certificate(OLD[0]);
        // Not even one who has signed it, which a certificate of version 1 that is trusted has.
        let provider = Arc::new(ring::default_provider());
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &DeviceId::new("edge1").unwrap(), Timestamp::now()).unwrap();
        let reader = CertificateReader::new(authority.trust_bundle(), provider, Arc::new(SystemClock)).unwrap();
        let facts = reader.read(std::slice::from_ref(&old)).unwrap();
        assert_eq!((facts.common_name.as_deref(), facts.is_vouched_for), (Some("old"), false));
        assert_eq!(facts.thumbprints, thumbprints(&old));
    }
}
