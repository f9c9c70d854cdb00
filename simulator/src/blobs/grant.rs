//! Leave to read and write one file for a while: a shared access signature in the query of its address.

use edgectl_hub::clock::text_of;
use edgectl_schemas::sas::{SharedKey, encode};
use jiff::Timestamp;

/// The version of the storage service that the signature says it is for.
const VERSION: &str = "2018-03-28";
/// To read and to write.
const PERMISSIONS: &str = "rw";

/// What signs.
#[derive(Clone)]
pub struct Grants {
    key: SharedKey,
}

impl Grants {
    /// Signs with a key that is derived from the hub owner's.
    pub fn new(owner: &SharedKey) -> Self {
        Self { key: SharedKey::from_bytes(owner.sign(b"storage")) }
    }

    /// The query that gives leave until a time, milliseconds since the Unix epoch.
    pub fn query(&self, container: &str, blob: &str, expires_ms: u64) -> String {
        let expiry = text_of(expires_ms);
        let signature = encode(&self.signature(container, blob, &expiry));
        format!("?sv={VERSION}&sr=b&sig={signature}&se={}&sp={PERMISSIONS}", encode(&expiry))
    }

    /// Whether a query's signature and expiry give leave now.
    pub fn allows(&self, container: &str, blob: &str, signature: &str, expiry: &str, now_ms: u64) -> bool {
        let until = expiry.parse::<Timestamp>().ok().and_then(|until| u64::try_from(until.as_millisecond()).ok());
        until.is_some_and(|until| until > now_ms) && signature == self.signature(container, blob, expiry)
    }

    fn signature(&self, container: &str, blob: &str, expiry: &str) -> String {
        let signed = self.key.sign(format!("{PERMISSIONS}\n{expiry}\n/{container}/{blob}").as_bytes());
        SharedKey::from_bytes(signed).to_base64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leave_is_for_one_file_and_a_time() {
        let grants = Grants::new(&SharedKey::from_bytes(*b"owner"));
        let query = grants.query("uploads", "camera/a b.jpg", 1_000_000);
        let part = |name: &str| {
            let parts = query.trim_start_matches('?').split('&').filter_map(|part| part.split_once('='));
            let (_, value) = parts.into_iter().find(|(known, _)| *known == name).unwrap();
            edgectl_schemas::sas::decode(value)
        };
        let (signature, expiry) = (part("sig"), part("se"));
        let allows =
            |blob: &str, signature: &str, expiry: &str, now| grants.allows("uploads", blob, signature, expiry, now);
        assert!(allows("camera/a b.jpg", &signature, &expiry, 999_999));
        assert!(!allows("camera/a b.jpg", &signature, &expiry, 1_000_000));
        assert!(!allows("camera/other", &signature, &expiry, 1));
        assert!(!allows("camera/a b.jpg", &signature, &text_of(2_000_000), 1));
        assert!(!allows("camera/a b.jpg", "x", &expiry, 1));
    }
}
