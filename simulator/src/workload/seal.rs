//! Encryption under a module's key: AES-256-GCM, bound to the module and the generation of its identity.
//!
//! The caller chooses an initialization vector of any length; the cipher's key and nonce are made from it and from the
//! module's key, so that the same input gives the same text.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use edgectl_schemas::sas::SharedKey;

const NONCE_BYTES: usize = 12;

/// The text was not encrypted here with this key, module, generation and vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot encrypt or decrypt with the key and initialization vector given")]
pub(super) struct SealError;

/// A key for one module, one generation and one initialization vector.
pub(super) struct Seal {
    cipher: Aes256Gcm,
    nonce: [u8; NONCE_BYTES],
    bound_to: String,
}

impl Seal {
    pub(super) fn new(key: &SharedKey, module: &str, generation_id: &str, vector: &[u8]) -> Self {
        let cipher = Aes256Gcm::new(&key.sign(b"workload encryption key").into());
        let mut nonce = [0; NONCE_BYTES];
        let digest = key.sign(&[b"workload encryption nonce ", vector].concat());
        nonce.copy_from_slice(&digest[..NONCE_BYTES]);
        Self { cipher, nonce, bound_to: format!("{module}/{generation_id}") }
    }

    pub(super) fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let payload = Payload { msg: plaintext, aad: self.bound_to.as_bytes() };
        self.cipher.encrypt(&Nonce::from(self.nonce), payload).map_err(|_| SealError)
    }

    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Result<Vec<u8>, SealError> {
        let payload = Payload { msg: ciphertext, aad: self.bound_to.as_bytes() };
        self.cipher.decrypt(&Nonce::from(self.nonce), payload).map_err(|_| SealError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_module_generation_and_vector_open_a_text() {
        let key = SharedKey::from_bytes(*b"key");
        let sealed = Seal::new(&key, "m", "1", b"iv").encrypt(b"text").unwrap();
        assert_ne!(sealed[..4], *b"text");
        assert_eq!(Seal::new(&key, "m", "1", b"iv").decrypt(&sealed).unwrap(), b"text");
        let other = SharedKey::from_bytes(*b"other");
        for seal in [
            Seal::new(&other, "m", "1", b"iv"),
            Seal::new(&key, "n", "1", b"iv"),
            Seal::new(&key, "m", "2", b"iv"),
            Seal::new(&key, "m", "1", b"vi"),
        ] {
            assert_eq!(seal.decrypt(&sealed), Err(SealError));
        }
    }
}
