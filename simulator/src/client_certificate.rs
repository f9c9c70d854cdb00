//! Reading what a client presented in the TLS handshake: the facts that a hub decides on.

use std::sync::Arc;

use edgectl_hub::certificate::{Chain, ClientCertificate};
use edgectl_hub::clock::Clock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use crate::thumbprint::thumbprints;
use crate::tls::{TlsError, roots};

/// Reads client certificates, and knows which authorities a hub trusts.
pub struct CertificateReader {
    chains: Arc<dyn ClientCertVerifier>,
    roots: Vec<CertificateDer<'static>>,
    clock: Arc<dyn Clock>,
}

impl CertificateReader {
    /// Trusts the roots of a bundle, PEM.
    pub fn new(trust_bundle: &str, provider: Arc<CryptoProvider>, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let store = Arc::new(roots(trust_bundle)?);
        let chains = WebPkiClientVerifier::builder_with_provider(store, provider).build()?;
        // What of it is no certificate was refused above.
        let roots = CertificateDer::pem_slice_iter(trust_bundle.as_bytes()).flatten().collect();
        Ok(Self { chains, roots, clock })
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
        let vouched = match parsed.version() {
            X509Version::V1 => self.is_signed_by_root(&parsed),
            _ => self.chains.verify_client_cert(leaf, intermediates, now).map(drop).map_err(|error| error.to_string()),
        };
        if let Err(error) = &vouched {
            tracing::debug!(error, "no trusted authority vouches for a client's certificate");
        }
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        Some(ClientCertificate {
            common_name: common_name.map(str::to_owned),
            thumbprints: thumbprints(leaf),
            valid_from: seconds(parsed.validity().not_before),
            valid_until: seconds(parsed.validity().not_after),
            is_vouched_for: vouched.is_ok(),
            chain: Chain::new(chain.iter().map(|certificate| certificate.to_vec()).collect(), leads_to),
        })
    }

    /// The library that follows chains reads no certificates of X.509 version 1, which tools make where they are not told
    /// otherwise and the service takes. Such a one says nothing of its use, so all there is to check is who signed it.
    fn is_signed_by_root(&self, leaf: &X509Certificate<'_>) -> Result<(), String> {
        let is_root =
            |root: &CertificateDer<'_>| X509Certificate::from_der(root).is_ok_and(|(_, root)| is_signed(leaf, &root));
        if self.roots.iter().any(is_root) { Ok(()) } else { Err("no root signed it".to_owned()) }
    }
}

/// Whether this is a certificate, DER.
pub fn is_certificate(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

fn is_signed(certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> bool {
    by.subject() == certificate.issuer() && certificate.verify_signature(Some(by.public_key())).is_ok()
}

/// Follows signatures from the first certificate to an authority, over those between that are authorities themselves and hold.
fn leads_to(certificates: &[Vec<u8>], authority: &[u8], now: u64) -> bool {
    let Ok((_, authority)) = X509Certificate::from_der(authority) else { return false };
    let parsed = certificates.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    let parsed: Vec<X509Certificate<'_>> = parsed.map(|(_, certificate)| certificate).collect();
    let Some((mut current, mut others)) = parsed.split_first() else { return false };
    let now = i64::try_from(now).ok().and_then(|now| ASN1Time::from_timestamp(now).ok());
    let holds = |certificate: &X509Certificate<'_>| now.is_some_and(|now| certificate.validity().is_valid_at(now));
    if !holds(&authority) {
        return false;
    }
    while !is_signed(current, &authority) {
        match others.split_first() {
            Some((next, rest)) if next.is_ca() && holds(next) && is_signed(current, next) => {
                (current, others) = (next, rest);
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use edgectl_hub::clock::SystemClock;
    use edgectl_schemas::ids::{DeviceId, Identity};
    use jiff::{Timestamp, ToSpan as _};

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

    /// Made by `openssl x509 -req -CA`: a certificate of version 1, the root that signed it, and another root of that name.
    const SIGNED: &str = include_str!("../tests/fixtures/version_1_signed.pem");

    #[test]
    fn a_root_vouches_for_a_certificate_of_version_1_that_it_signed() {
        let end = "-----END CERTIFICATE-----\n";
        let [leaf, root, other]: [&str; 3] =
            SIGNED.split_inclusive(end).collect::<Vec<_>>().try_into().expect("three certificates");
        let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
        let is_vouched_for = |root: &str| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let reader = CertificateReader::new(root, provider, Arc::new(SystemClock)).unwrap();
            reader.read(std::slice::from_ref(&leaf)).unwrap().is_vouched_for
        };
        assert!(is_vouched_for(root));
        assert!(!is_vouched_for(other));
    }

    #[test]
    fn a_chain_leads_to_who_signed_it_and_over_authorities_alone() {
        let now = 1_700_000_000;
        let made = |name: &str, is_ca: bool| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            let unconstrained = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters.is_ca = if is_ca { unconstrained } else { rcgen::IsCa::ExplicitNoCa };
            (parameters, rcgen::KeyPair::generate().unwrap())
        };
        let (root, root_key) = made("root", true);
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let root = rcgen::Issuer::new(root, root_key);
        let chain = |is_ca: bool| {
            let (between, between_key) = made("between", is_ca);
            let between_der = between.signed_by(&between_key, &root).unwrap().der().to_vec();
            let between = rcgen::Issuer::new(between, between_key);
            let (leaf, leaf_key) = made("leaf", false);
            vec![leaf.signed_by(&leaf_key, &between).unwrap().der().to_vec(), between_der]
        };
        let good = chain(true);
        assert!(
            leads_to(&good, &root_der, now) && leads_to(&good, &good[1], now) && leads_to(&good[..1], &good[1], now)
        );
        assert!(!leads_to(&good[..1], &root_der, now), "the one between is missing");
        assert!(!leads_to(&good, &good[0], now) && !leads_to(&good, b"", now) && !leads_to(&[], &root_der, now));
        assert!(!leads_to(&chain(false), &root_der, now), "who is no authority signs nothing");
        let (other, other_key) = made("root", true);
        assert!(!leads_to(&good, other.self_signed(&other_key).unwrap().der(), now));
        assert!(!leads_to(&good, &root_der, u64::MAX) && !leads_to(&good, &root_der, 99_999_999_999_999));
    }
}
