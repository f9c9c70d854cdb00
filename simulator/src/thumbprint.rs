//! Thumbprints, by which a registry knows the certificate of a device.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// The SHA-1 and SHA-256 digests of a certificate, DER, in upper-case hexadecimal digits.
pub fn thumbprints(certificate: &[u8]) -> [String; 2] {
    [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].map(|algorithm| {
        let digest = digest(algorithm, certificate);
        digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xF]).map(digit).collect()
    })
}

fn digit(number: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(number & 0xF)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_are_upper_case_digits() {
        let [sha1, sha256] = thumbprints(b"abc");
        assert_eq!(sha1, "A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert!(sha256.starts_with("BA7816BF8F01CFEA"));
    }
}
