//! A server's certificate, made anew before it ends while the device goes on running.
//!
//! Whoever connects is shown a certificate that holds for a while yet; connections that are there keep theirs. The real
//! runtime restarts its hub instead, and all clients see their connections end.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use edgectl_hub::clock::Clock;
use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::Authority;
use crate::renewal::RenewalPolicy;
use crate::tls::TlsError;

/// As the real runtime does.
const RENEWAL: RenewalPolicy = RenewalPolicy::Percent(80);

/// The certificate of a server under some names.
pub struct ServerCertificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    made_at: Timestamp,
    expires_at: Timestamp,
}

impl ServerCertificate {
    /// Has a first certificate made.
    pub fn new(
        authority: Arc<Authority>,
        names: &[&str],
        provider: Arc<CryptoProvider>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let current = Mutex::new(make(&authority, &names, &provider, clock.timestamp())?);
        Ok(Self { authority, names, provider, clock, current })
    }
}

impl ResolvesServerCert for ServerCertificate {
    /// Whatever name the client asks for: some ask for an address, which is none.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.timestamp();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Who set the clock back has clients whose clock it is too: for them the certificate does not hold yet.
        let is_early = now < current.made_at;
        if is_early || RENEWAL.is_due(current.made_at, current.expires_at, now) {
            match make(&self.authority, &self.names, &self.provider, now) {
                Ok(made) => {
                    tracing::info!(names = ?self.names, "the server certificate was made anew");
                    *current = made;
                }
                // The old one may hold yet.
                Err(error) => {
                    tracing::error!(%error, names = ?self.names, "the server certificate cannot be made anew");
                }
            }
        }
        Some(Arc::clone(&current.key))
    }
}

fn make(
    authority: &Authority,
    names: &[String],
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<Current, TlsError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let issued = authority.issue_server(&names, now)?;
    let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes())?;
    let key = Arc::new(CertifiedKey::from_der(chain, key, provider)?);
    Ok(Current { key, made_at: now, expires_at: issued.expires_at })
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}
