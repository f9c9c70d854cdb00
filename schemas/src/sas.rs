//! Shared access signatures: `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={policy}]`.
//!
//! The signature is the HMAC-SHA256 of `{sr}\n{se}`, where `sr` is the text exactly as it stands in the token:
//! most clients percent-encode it, some do not, and both must verify.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;

use crate::ids::Identity;

/// Seconds by which the clocks of client and hub may differ before a token counts as expired.
pub const CLOCK_SKEW_SECONDS: u64 = 300;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A symmetric key: base64 in text, raw bytes in use. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(Vec<u8>);

impl SharedKey {
    /// Takes raw bytes as a key.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Reads the base64 text of a key.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        BASE64.decode(text.trim()).map(Self).map_err(|_| InvalidKey)
    }

    /// The base64 text, for storing it.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// The HMAC-SHA256 of some data under this key.
    pub fn sign(&self, data: &[u8]) -> [u8; 32] {
        self.mac(data).finalize().into_bytes().into()
    }

    /// Whether a signature of the data is this key's, in constant time.
    pub fn verify(&self, data: &[u8], signature: &[u8]) -> bool {
        self.mac(data).verify_slice(signature).is_ok()
    }

    fn mac(&self, data: &[u8]) -> Hmac<Sha256> {
        // HMAC takes keys of every length, so this branch is never reached with a default.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&[0; 64].into()));
        mac.update(data);
        mac
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

/// A key that is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not base64")]
pub struct InvalidKey;

/// Why a text is not a usable token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// The text has not the form of a token, or a field is missing.
    #[error("the specified SAS token has an invalid format")]
    Format,
    /// The token's expiry is more than the allowed skew ago.
    #[error("the specified SAS token is expired")]
    Expired,
}

/// A token, read but not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SasToken {
    /// The resource as it stands in the token, which is what was signed.
    pub resource: String,
    /// The signature's bytes.
    pub signature: Vec<u8>,
    /// The expiry as it stands in the token, which is what was signed.
    expiry_text: String,
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
    /// The name of the policy whose key signed, for tokens of service clients.
    pub policy: Option<String>,
}

impl SasToken {
    /// Reads a token. Field names are taken in any case and order; one white space of any kind follows the scheme.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.strip_prefix("SharedAccessSignature").ok_or(InvalidToken::Format)?;
        let mut characters = rest.chars();
        if !characters.next().is_some_and(char::is_whitespace) {
            return Err(InvalidToken::Format);
        }
        let (mut resource, mut signature, mut expiry, mut policy) = (None, None, None, None);
        for field in characters.as_str().split('&') {
            let (name, value) = field.split_once('=').ok_or(InvalidToken::Format)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "sr" => resource = Some(value),
                "sig" => signature = Some(value),
                "se" => expiry = Some(value),
                "skn" => policy = Some(decode(value)),
                _ => {}
            }
        }
        let (Some(resource), Some(signature), Some(expiry)) = (resource, signature, expiry) else {
            return Err(InvalidToken::Format);
        };
        let expires_at = expiry.trim().parse().map_err(|_| InvalidToken::Format)?;
        Ok(Self {
            resource: resource.to_owned(),
            // A signature that is not base64 is a signature that no key made.
            signature: BASE64.decode(decode(signature)).unwrap_or_default(),
            expiry_text: expiry.to_owned(),
            expires_at,
            policy,
        })
    }

    /// Refuses a token whose expiry lies more than [`CLOCK_SKEW_SECONDS`] before `now`, in seconds since the Unix epoch.
    pub fn check_expiry(&self, now: u64) -> Result<(), InvalidToken> {
        if self.expires_at.saturating_add(CLOCK_SKEW_SECONDS) <= now { Err(InvalidToken::Expired) } else { Ok(()) }
    }

    /// Whether the key made the signature.
    pub fn is_signed_by(&self, key: &SharedKey) -> bool {
        key.verify(format!("{}\n{}", self.resource, self.expiry_text).as_bytes(), &self.signature)
    }

    /// The resource without its percent-encoding.
    pub fn audience(&self) -> String {
        decode(&self.resource)
    }
}

/// The audience of a client as the runtime writes it: each identifier encoded, then the whole encoded again.
pub fn encoded_audience(host: &str, identity: &Identity) -> String {
    let device = encode(identity.device.as_str());
    let whole = match &identity.module {
        None => format!("{host}/devices/{device}"),
        Some(module) => format!("{host}/devices/{device}/modules/{}", encode(module.as_str())),
    };
    encode(&whole)
}

/// What is signed for a token: give this to a key, or to the workload API.
pub fn string_to_sign(encoded_resource: &str, expires_at: u64) -> String {
    format!("{encoded_resource}\n{expires_at}")
}

/// Puts a token together from its signed parts.
pub fn format_token(encoded_resource: &str, signature: &[u8], expires_at: u64, policy: Option<&str>) -> String {
    let signature = encode(&BASE64.encode(signature));
    match policy {
        None => format!("SharedAccessSignature sr={encoded_resource}&sig={signature}&se={expires_at}"),
        Some(policy) => {
            format!(
                "SharedAccessSignature sr={encoded_resource}&sig={signature}&se={expires_at}&skn={}",
                encode(policy)
            )
        }
    }
}

/// Makes a token for a resource that is encoded already.
pub fn make_token(key: &SharedKey, encoded_resource: &str, expires_at: u64, policy: Option<&str>) -> String {
    let signature = key.sign(string_to_sign(encoded_resource, expires_at).as_bytes());
    format_token(encoded_resource, &signature, expires_at, policy)
}

/// Percent-encodes all but the unreserved characters.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Appends a text percent-encoded.
pub fn encode_into(text: &str, out: &mut String) {
    out.extend(utf8_percent_encode(text, UNRESERVED));
}

/// Removes percent-encoding; bytes that are no UTF-8 become the replacement character. A plus stays a plus.
pub fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Identity;

    // The key, audience and signature of the public vectors.
    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
    const RESOURCE: &str = "testiothub.azure-devices.net%2Fdevices%2Fd1";
    const SIGNATURE: &str = "Tnu5Z0SNTAp+x2AhtgPcSMU1n3I7ZN3eCAu2rlkkl/c=";

    #[test]
    fn signs_as_the_runtime_does() {
        let key = SharedKey::from_base64(KEY).unwrap();
        let signature = key.sign(string_to_sign(RESOURCE, 4_102_444_800).as_bytes());
        assert_eq!(BASE64.encode(signature), SIGNATURE);
    }

    #[test]
    fn verifies_what_it_made_and_nothing_else() {
        let key = SharedKey::from_base64(KEY).unwrap();
        let token = SasToken::parse(&make_token(&key, RESOURCE, 4_102_444_800, Some("iothubowner"))).unwrap();
        assert!(token.is_signed_by(&key));
        assert_eq!(token.policy.as_deref(), Some("iothubowner"));
        assert!(!token.is_signed_by(&SharedKey::from_bytes(*b"another")));
    }

    #[test]
    fn a_bare_resource_verifies_too() {
        let key = SharedKey::from_base64(KEY).unwrap();
        let token = SasToken::parse(&make_token(&key, "127.0.0.1:443", 4_102_444_800, None)).unwrap();
        assert!(token.is_signed_by(&key));
    }

    #[test]
    fn expiry_has_five_minutes_of_grace() {
        let token = SasToken::parse("SharedAccessSignature sr=a&sig=b&se=1000").unwrap();
        assert_eq!(token.check_expiry(1299), Ok(()));
        assert_eq!(token.check_expiry(1300), Err(InvalidToken::Expired));
    }

    #[test]
    fn a_missing_field_is_a_format_error() {
        for text in [
            "",
            "  ",
            "\nsig=test&se=0&sr=test",
            "SharedAccessSignature\nse=0&sr=test",
            "SharedAccessSignature\nsig=test&sr=test",
        ] {
            assert_eq!(SasToken::parse(text), Err(InvalidToken::Format), "{text:?}");
        }
    }

    #[test]
    fn audiences_are_encoded_twice() {
        let identity = Identity::parse("n@m.et#st/$edgeAgent").unwrap();
        assert_eq!(
            encoded_audience("testIotHub.azure-devices.net", &identity),
            "testIotHub.azure-devices.net%2Fdevices%2Fn%2540m.et%2523st%2Fmodules%2F%2524edgeAgent"
        );
    }
}
