//! A client's certificate, as far as a hub has to know it. Reading certificates is for who speaks TLS; whose a
//! certificate is, and whether it is good, is decided here.

use std::fmt;

use edgectl_schemas::ids::Identity;

use crate::auth::{AuthError, Authentication, IdentityRecord};

/// A certificate presented in a TLS handshake, in which the client proved to have its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common name of its subject.
    pub common_name: Option<String>,
    /// Its SHA-1 and SHA-256 digests, upper-case hexadecimal digits.
    pub thumbprints: [String; 2],
    /// Seconds since the Unix epoch from which it holds.
    pub valid_from: u64,
    /// Seconds since the Unix epoch until which it holds.
    pub valid_until: u64,
    /// Whether a chain led from it to an authority that the hub trusts.
    pub is_vouched_for: bool,
    /// What it came with, for authorities that only some enrolments trust.
    pub chain: Chain,
}

/// Follows signatures from a certificate, the first of some, DER, over the others to an authority, at a time in seconds since
/// the Unix epoch.
pub type Follow = fn(certificates: &[Vec<u8>], authority: &[u8], now: u64) -> bool;

/// The certificates that a client presented, its own first.
#[derive(Clone)]
pub struct Chain {
    certificates: Vec<Vec<u8>>,
    follow: Follow,
}

impl Chain {
    /// Certificates, DER, and what follows their signatures.
    pub fn new(certificates: Vec<Vec<u8>>, follow: Follow) -> Self {
        Self { certificates, follow }
    }

    /// Whether an authority, DER, signed the client's certificate, or one that leads to it.
    pub fn leads_to(&self, authority: &[u8], now: u64) -> bool {
        (self.follow)(&self.certificates, authority, now)
    }
}

impl Default for Chain {
    /// Leads nowhere.
    fn default() -> Self {
        Self::new(Vec::new(), |_, _, _| false)
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Chain {}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.certificates.len())
    }
}

impl ClientCertificate {
    /// Checks the certificate for an identity, whose device must be enabled too. Returns when it ends.
    pub fn check(&self, record: &IdentityRecord, device: Option<&IdentityRecord>, now: u64) -> Result<u64, AuthError> {
        let identity = &record.identity;
        if !record.enabled || device.is_some_and(|device| !device.enabled) {
            return Err(AuthError::Disabled(identity.clone()));
        }
        match &record.authentication {
            Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint } => {
                self.check_thumbprint(identity, &[primary_thumbprint, secondary_thumbprint])?;
            }
            Authentication::CertificateAuthority => self.check_authority(identity)?,
            Authentication::Sas { .. } | Authentication::None => {
                return Err(AuthError::NoCertificate(identity.clone()));
            }
        }
        if now < self.valid_from || self.valid_until < now {
            return Err(AuthError::CertificateTime);
        }
        Ok(self.valid_until)
    }

    fn check_thumbprint(&self, identity: &Identity, known: &[&String]) -> Result<(), AuthError> {
        let is_known = |own: &String| known.iter().any(|known| own.eq_ignore_ascii_case(known));
        if self.thumbprints.iter().any(is_known) { Ok(()) } else { Err(AuthError::Thumbprint(identity.clone())) }
    }

    /// The subject of a device's certificate is the device; that of a module's is `device/module`.
    fn check_authority(&self, identity: &Identity) -> Result<(), AuthError> {
        if !self.is_vouched_for {
            return Err(AuthError::Authority(identity.clone()));
        }
        match &self.common_name {
            Some(name) if *name == identity.to_string() => Ok(()),
            name => Err(AuthError::CommonName(name.clone().unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(identity: &str, authentication: Authentication) -> IdentityRecord {
        let identity = Identity::parse(identity).unwrap();
        IdentityRecord { identity, generation_id: "1".into(), enabled: true, authentication }
    }

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            common_name: Some("leaf".into()),
            thumbprints: ["AA".repeat(20), "BB".repeat(32)],
            valid_from: 100,
            valid_until: 200,
            is_vouched_for: true,
            chain: Chain::default(),
        }
    }

    fn self_signed(primary: &str, secondary: &str) -> IdentityRecord {
        let (primary_thumbprint, secondary_thumbprint) = (primary.to_owned(), secondary.to_owned());
        record("leaf", Authentication::SelfSigned { primary_thumbprint, secondary_thumbprint })
    }

    #[test]
    fn either_digest_may_be_either_thumbprint() {
        for thumbprint in ["AA".repeat(20), "bb".repeat(32)] {
            for known in [self_signed(&thumbprint, ""), self_signed("", &thumbprint)] {
                assert_eq!(certificate().check(&known, None, 150), Ok(200));
            }
        }
        let unknown = self_signed(&"CC".repeat(20), "");
        assert!(matches!(certificate().check(&unknown, None, 150), Err(AuthError::Thumbprint(_))));
        assert!(matches!(certificate().check(&self_signed("", ""), None, 150), Err(AuthError::Thumbprint(_))));
    }

    #[test]
    fn an_authority_vouches_for_the_name_it_signed() {
        let known = record("leaf", Authentication::CertificateAuthority);
        assert_eq!(certificate().check(&known, None, 150), Ok(200));
        let other = record("leaf2", Authentication::CertificateAuthority);
        assert_eq!(certificate().check(&other, None, 150), Err(AuthError::CommonName("leaf".into())));
        let foreign = ClientCertificate { is_vouched_for: false, ..certificate() };
        assert!(matches!(foreign.check(&known, None, 150), Err(AuthError::Authority(_))));
        let nameless = ClientCertificate { common_name: None, ..certificate() };
        assert!(matches!(nameless.check(&known, None, 150), Err(AuthError::CommonName(_))));
    }

    #[test]
    fn a_certificate_has_its_time_and_its_owner_is_enabled() {
        let known = record("leaf", Authentication::CertificateAuthority);
        for now in [99, 201] {
            assert_eq!(certificate().check(&known, None, now), Err(AuthError::CertificateTime));
        }
        let disabled = IdentityRecord { enabled: false, ..known.clone() };
        assert!(matches!(certificate().check(&disabled, None, 150), Err(AuthError::Disabled(_))));
        assert!(matches!(certificate().check(&known, Some(&disabled), 150), Err(AuthError::Disabled(_))));
        let with_keys = Authentication::Sas { primary_key: String::new(), secondary_key: String::new() };
        for authentication in [with_keys, Authentication::None] {
            let known = record("leaf", authentication);
            assert!(matches!(certificate().check(&known, None, 150), Err(AuthError::NoCertificate(_))));
        }
    }
}
