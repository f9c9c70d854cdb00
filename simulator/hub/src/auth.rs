//! Whether a client is who it says. The rules are those of runtime and service alike: identity known and enabled, then
//! signature, then audience, then expiry.

use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::{InvalidToken, SasToken, SharedKey};
use serde::{Deserialize, Serialize};

/// An identity as a hub has it registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityRecord {
    /// Who.
    pub identity: Identity,
    /// Changes when the identity is made anew.
    pub generation_id: String,
    /// Whether it may connect.
    pub enabled: bool,
    /// How it proves itself.
    pub authentication: Authentication,
}

/// How an identity proves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Authentication {
    /// By tokens signed with one of two keys.
    Sas {
        /// Base64.
        primary_key: String,
        /// Base64.
        secondary_key: String,
    },
    /// By a certificate with one of two thumbprints, upper-case hexadecimal digits.
    SelfSigned {
        /// The first.
        primary_thumbprint: String,
        /// The second.
        secondary_thumbprint: String,
    },
    /// By a certificate of an authority that the hub trusts.
    CertificateAuthority,
    /// Not at all.
    None,
}

impl IdentityRecord {
    /// The keys that may sign for it.
    pub fn keys(&self) -> Vec<SharedKey> {
        match &self.authentication {
            Authentication::Sas { primary_key, secondary_key } => {
                [primary_key, secondary_key].iter().filter_map(|key| SharedKey::from_base64(key).ok()).collect()
            }
            Authentication::SelfSigned { .. } | Authentication::CertificateAuthority | Authentication::None => {
                Vec::new()
            }
        }
    }
}

/// What a policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To read the registry of identities and configurations.
    RegistryRead,
    /// To change them.
    RegistryWrite,
    /// What services do: twins, queries, jobs, methods, messages to devices, feedback, received messages.
    ServiceConnect,
    /// What devices do.
    DeviceConnect,
    /// To manage the enrolments of the provisioning service.
    Enrollment,
}

/// Why a proof does not hold. For the log; clients learn only that they are not authorised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The hub does not know the identity.
    #[error("{0} is not registered")]
    Unknown(Identity),
    /// The identity may not connect.
    #[error("{0} is disabled")]
    Disabled(Identity),
    /// The identity proves itself in another way.
    #[error("{0} does not authenticate with a token")]
    WrongType(Identity),
    /// The same, the other way round.
    #[error("{0} does not authenticate with a certificate")]
    NoCertificate(Identity),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// No key of the identity made the signature.
    #[error("no key of {0} made the signature")]
    Signature(Identity),
    /// The token is for something else.
    #[error("the token's audience is {0}")]
    Audience(String),
    /// The certificate has neither of the identity's thumbprints.
    #[error("the certificate has no thumbprint of {0}")]
    Thumbprint(Identity),
    /// No authority that the hub trusts vouches for the certificate.
    #[error("no trusted authority signed the certificate of {0}")]
    Authority(Identity),
    /// The certificate is somebody else's.
    #[error("the certificate is that of {0:?}")]
    CommonName(String),
    /// The certificate does not hold yet, or any more.
    #[error("the certificate is not valid at this time")]
    CertificateTime,
    /// The hub has no such policy.
    #[error("the token is not one of a known policy, but of {0:?}")]
    Policy(String),
    /// The policy's key did not make the signature.
    #[error("the key of policy {0} did not sign the token")]
    PolicySignature(String),
    /// The policy does not allow it.
    #[error("policy {policy} does not have the right {right:?}")]
    Right {
        /// The policy.
        policy: String,
        /// What it lacks.
        right: Right,
    },
    /// The chain of an edge hub that acts for others does not hold together.
    #[error("the chain {0:?} does not allow it")]
    Chain(String),
}

/// What a token is checked against.
#[derive(Debug, Clone, Copy)]
pub struct TokenCheck<'a> {
    /// Names of the hub that the token may be for.
    pub hosts: &'a [&'a str],
    /// Seconds since the Unix epoch.
    pub now: u64,
}

impl TokenCheck<'_> {
    /// Checks a token for an identity. For modules the device's record may sign too. Returns when the token expires.
    pub fn check(
        &self,
        text: &str,
        record: &IdentityRecord,
        device: Option<&IdentityRecord>,
    ) -> Result<u64, AuthError> {
        if !record.enabled || device.is_some_and(|device| !device.enabled) {
            return Err(AuthError::Disabled(record.identity.clone()));
        }
        let token = SasToken::parse(text)?;
        let mut keys = record.keys();
        if let (Some(device), true) = (device, record.identity.module.is_some()) {
            keys.extend(device.keys());
        }
        if keys.is_empty() {
            return Err(AuthError::WrongType(record.identity.clone()));
        }
        if !keys.iter().any(|key| token.is_signed_by(key)) {
            return Err(AuthError::Signature(record.identity.clone()));
        }
        let audience = token.audience();
        if !self.allows_audience(&audience, &record.identity) {
            return Err(AuthError::Audience(audience));
        }
        token.check_expiry(self.now)?;
        Ok(token.expires_at)
    }

    /// Whether an audience, decoded once, names a host of the hub and the identity, or the identity's device.
    pub fn allows_audience(&self, audience: &str, identity: &Identity) -> bool {
        let segments: Vec<String> = audience.split('/').map(edgectl_schemas::sas::decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let (host, device, module) = match segments[..] {
            [host, devices, device] if same(devices, "devices") => (host, device, None),
            [host, devices, device, modules, module] if same(devices, "devices") && same(modules, "modules") => {
                (host, device, Some(module))
            }
            _ => return false,
        };
        let module_matches = match (module, &identity.module) {
            (None, _) => true,
            (Some(module), Some(own)) => same(module, own.as_str()),
            (Some(_), None) => false,
        };
        self.hosts.iter().any(|own| same(own, host)) && same(device, identity.device.as_str()) && module_matches
    }
}

#[cfg(test)]
mod tests {
    use edgectl_schemas::sas::{encoded_audience, make_token};

    use super::*;

    const HOST: &str = "testiothub.azure-devices.net";

    fn record(identity: &str, key: &str) -> IdentityRecord {
        let key = SharedKey::from_bytes(key.as_bytes()).to_base64();
        IdentityRecord {
            identity: Identity::parse(identity).unwrap(),
            generation_id: "1".into(),
            enabled: true,
            authentication: Authentication::Sas { primary_key: key, secondary_key: String::new() },
        }
    }

    fn token(identity: &str, key: &str, expires_at: u64) -> String {
        let audience = encoded_audience(HOST, &Identity::parse(identity).unwrap());
        make_token(&SharedKey::from_bytes(key.as_bytes()), &audience, expires_at, None)
    }

    fn check(now: u64) -> TokenCheck<'static> {
        TokenCheck { hosts: &[HOST, "edgehub1"], now }
    }

    #[test]
    fn own_key_device_key_and_device_audience_are_good_for_a_module() {
        let (module, device) = (record("d1/m1", "own"), record("d1", "device"));
        for text in [token("d1/m1", "own", 9000), token("d1/m1", "device", 9000), token("d1", "device", 9000)] {
            assert_eq!(check(100).check(&text, &module, Some(&device)), Ok(9000));
        }
    }

    #[test]
    fn every_flaw_has_its_reason() {
        let mut one = record("d1", "own");
        let good = token("d1", "own", 9000);
        let identity = one.identity.clone();
        assert_eq!(check(100).check("x", &one, None), Err(AuthError::Token(InvalidToken::Format)));
        assert_eq!(check(9300).check(&good, &one, None), Err(AuthError::Token(InvalidToken::Expired)));
        assert_eq!(
            check(100).check(&token("d1", "wrong", 9000), &one, None),
            Err(AuthError::Signature(identity.clone()))
        );
        assert!(matches!(check(100).check(&token("d2", "own", 9000), &one, None), Err(AuthError::Audience(_))));
        one.enabled = false;
        assert_eq!(check(100).check(&good, &one, None), Err(AuthError::Disabled(identity.clone())));
        one.enabled = true;
        one.authentication = Authentication::CertificateAuthority;
        assert_eq!(check(100).check(&good, &one, None), Err(AuthError::WrongType(identity)));
    }

    #[test]
    fn audiences_name_host_and_identity() {
        let device = Identity::parse("d1").unwrap();
        let module = Identity::parse("d1/m1").unwrap();
        for (audience, identity, expected) in [
            ("testiothub.azure-devices.net/devices/d1", &device, true),
            ("EdgeHub1/Devices/D1", &device, true),
            ("testiothub.azure-devices.net/devices/d1/foo", &device, false),
            ("testiothub.azure-devices.net/devices/d1/modules/m1", &module, true),
            ("testiothub.azure-devices.net/devices/d1/modules/m2", &module, false),
            ("testiothub.azure-devices.net/devices/d1/modules/m1", &device, false),
            ("other/devices/d1", &device, false),
            ("", &device, false),
        ] {
            assert_eq!(check(0).allows_audience(audience, identity), expected, "{audience}");
        }
    }
}
