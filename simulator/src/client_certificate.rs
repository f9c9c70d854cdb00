//! Reading what a client presented in the TLS handshake: the facts that a hub decides on.

use std::sync::Arc;

use edgectl_hub::certificate::ClientCertificate;
use edgectl_hub::clock::Clock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::thumbprint::thumbprints;
use crate::tls::{TlsError, roots};

/// Reads client certificates, and knows which authorities a hub trusts.
pub struct CertificateReader {
    chains: Arc<dyn ClientCertVerifier>,
    clock: Arc<dyn Clock>,
}

impl CertificateReader {
    /// Trusts the roots of a bundle, PEM.
    pub fn new(trust_bundle: &str, provider: Arc<CryptoProvider>, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let roots = Arc::new(roots(trust_bundle)?);
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
        Ok(Self { chains, clock })
    }

    /// The facts of a chain, leaf first; none if there is none, or if it cannot be read.
    pub fn read(&self, chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
        let (leaf, intermediates) = chain.split_first()?;
        let parsed = match X509Certificate::from_der(leaf) {
            Ok((_, parsed)) => parsed,
            Err(error) => {
                tracing::warn!(%error, "a client's certificate cannot be read");
                return None;
            }
        };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.clock.now_seconds()));
        let vouched = self.chains.verify_client_cert(leaf, intermediates, now);
        if let Err(error) = &vouched {
            tracing::debug!(%error, "no trusted authority vouches for a client's certificate");
        }
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        Some(ClientCertificate {
            common_name: common_name.map(str::to_owned),
            thumbprints: thumbprints(leaf),
            valid_from: seconds(parsed.validity().not_before),
            valid_until: seconds(parsed.validity().not_after),
            is_vouched_for: vouched.is_ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use edgectl_hub::clock::SystemClock;
    use edgectl_schemas::ids::{DeviceId, Identity};
    use jiff::{Timestamp, ToSpan as _};
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::authority::{Authority, Issued, self_signed_client};

    fn authority(folder: &Path) -> Authority {
        Authority::open(folder, &DeviceId::new("edge1").unwrap(), Timestamp::now()).unwrap()
    }

    fn read(trusted: &Authority, issued: &Issued) -> ClientCertificate {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let reader = CertificateReader::new(trusted.trust_bundle(), provider, Arc::new(SystemClock)).unwrap();
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
        reader.read(&chain).unwrap()
    }

    #[test]
    fn the_root_vouches_for_the_devices_it_signed_and_no_others() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (authority(one.path()), authority(other.path()));
        let (leaf, now) = (Identity::parse("leaf").unwrap(), Timestamp::now());
        let own = read(&one, &one.issue_client(&leaf, now).unwrap());
        assert_eq!((own.common_name.as_deref(), own.is_vouched_for), (Some("leaf"), true));
        assert!(own.valid_from < own.valid_until);
        assert!(!read(&one, &other.issue_client(&leaf, now).unwrap()).is_vouched_for);
        assert!(!read(&one, &self_signed_client(&leaf, now).unwrap()).is_vouched_for);
        // A server's certificate is no device's.
        assert!(!read(&one, &one.issue_server(&["leaf"], now).unwrap()).is_vouched_for);
        let past = now.checked_sub(48.hours() * 365).unwrap();
        assert!(!read(&one, &one.issue_client(&leaf, past).unwrap()).is_vouched_for);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let long = Identity::parse(&"d".repeat(65)).unwrap();
        assert!(authority.issue_client(&long, Timestamp::now()).is_err());
    }
}
