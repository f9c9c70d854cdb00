//! The shared access policies with which services reach the hub, and what each of them may.
//!
//! Names and rights are those that every hub of the real service is made with.

use edgectl_schemas::sas::{SasToken, SharedKey};

use crate::auth::{AuthError, Right};

/// The policy that may do everything.
pub const OWNER: &str = "iothubowner";

const POLICIES: [(&str, &[Right]); 6] = {
    use Right::{DeviceConnect, Enrollment, RegistryRead, RegistryWrite, ServiceConnect};
    [
        (OWNER, &[RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect, Enrollment]),
        ("service", &[ServiceConnect]),
        ("device", &[DeviceConnect]),
        ("registryRead", &[RegistryRead]),
        ("registryReadWrite", &[RegistryRead, RegistryWrite]),
        // The policy of the provisioning service, which is beside the hub.
        ("provisioningserviceowner", &[Enrollment]),
    ]
};

/// The policies of one hub.
#[derive(Debug, Clone)]
pub struct Policies {
    owner: SharedKey,
}

impl Policies {
    /// The policies of a hub whose owner has this key; the other keys are derived from it.
    pub fn new(owner: SharedKey) -> Self {
        Self { owner }
    }

    /// The key of a policy.
    pub fn key(&self, name: &str) -> Option<SharedKey> {
        match POLICIES.iter().find(|(known, _)| *known == name)? {
            (known, _) if *known == OWNER => Some(self.owner.clone()),
            (known, _) => Some(SharedKey::from_bytes(self.owner.sign(format!("policy {known}").as_bytes()))),
        }
    }

    /// Checks a policy's token for something that needs a right, on the hub of that name. Returns when it expires, in seconds
    /// since the Unix epoch.
    pub fn check(&self, token: &str, right: Right, host: &str, now: u64) -> Result<u64, AuthError> {
        let token = SasToken::parse(token)?;
        let name = token.policy.as_deref().unwrap_or_default();
        let key = self.key(name).ok_or_else(|| AuthError::Policy(name.to_owned()))?;
        // Event Hubs clients sign with the key as it is written, all others with the bytes that it stands for.
        let as_written = || SharedKey::from_bytes(key.to_base64().into_bytes());
        if !token.is_signed_by(&key) && !token.is_signed_by(&as_written()) {
            return Err(AuthError::PolicySignature(name.to_owned()));
        }
        if !is_for(&token.audience(), host) {
            return Err(AuthError::Audience(token.audience()));
        }
        token.check_expiry(now)?;
        let allows = POLICIES.iter().any(|(known, rights)| *known == name && rights.contains(&right));
        if !allows {
            return Err(AuthError::Right { policy: name.to_owned(), right });
        }
        Ok(token.expires_at)
    }
}

/// Whether an audience is a hub or something in it. Clients write it with and without a scheme and a port.
fn is_for(audience: &str, host: &str) -> bool {
    let audience = audience.split_once("://").map_or(audience, |(_, rest)| rest);
    audience.split([':', '/']).next().is_some_and(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use edgectl_schemas::sas::{encode, make_token};

    use super::*;

    #[test]
    fn each_policy_may_what_it_is_for() {
        let policies = Policies::new(SharedKey::from_bytes(*b"owner"));
        let may = |name: &str, right| {
            let token = make_token(&policies.key(name).unwrap(), &encode("hub.example"), 20_000, Some(name));
            policies.check(&token, right, "hub.example", 10_000).is_ok()
        };
        for (name, rights) in POLICIES {
            for right in [
                Right::RegistryRead,
                Right::RegistryWrite,
                Right::ServiceConnect,
                Right::DeviceConnect,
                Right::Enrollment,
            ] {
                assert_eq!(may(name, right), rights.contains(&right), "{name} {right:?}");
            }
        }
        let key = policies.key("service").unwrap();
        let check = |token: &str| policies.check(token, Right::ServiceConnect, "hub.example", 10_000);
        for audience in
            ["hub.example", "HUB.example/messages/devicebound", "sb://hub.example:5671/events", "https://hub.example"]
        {
            assert_eq!(check(&make_token(&key, &encode(audience), 20_000, Some("service"))), Ok(20_000), "{audience}");
        }
        let wrong = [
            make_token(&key, &encode("other.example"), 20_000, Some("service")),
            make_token(&key, &encode("hub.example"), 10, Some("service")),
            make_token(&key, &encode("hub.example"), 20_000, Some("iothubowner")),
            make_token(&key, &encode("hub.example"), 20_000, Some("nobody")),
            make_token(&key, &encode("hub.example"), 20_000, None),
        ];
        assert!(wrong.iter().all(|token| check(token).is_err()));
    }
}
