//! Where a client's tokens come from.

use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::{SharedKey, encoded_audience, make_token};

/// How long a token holds.
const TOKEN_SECONDS: u64 = 3600;

/// A token and its end.
#[derive(Debug, Clone)]
pub struct Token {
    /// The shared access signature.
    pub text: String,
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
}

/// No token could be had.
#[derive(Debug, thiserror::Error)]
#[error("no token: {0}")]
pub struct TokenError(String);

impl TokenError {
    /// For this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Makes tokens.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A fresh token. It is told the time, in seconds since the Unix epoch.
    async fn token(&self, now: u64) -> Result<Token, TokenError>;
}

/// Tokens signed with a key that is at hand.
pub struct KeyTokens {
    audience: String,
    key: RwLock<SharedKey>,
}

impl KeyTokens {
    /// Tokens of an identity for a hub.
    pub fn new(hub_host: &str, identity: &Identity, key: SharedKey) -> Self {
        Self { audience: encoded_audience(hub_host, identity), key: RwLock::new(key) }
    }

    /// Signs with another key from now on.
    pub fn replace(&self, key: SharedKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

#[async_trait]
impl TokenSource for KeyTokens {
    async fn token(&self, now: u64) -> Result<Token, TokenError> {
        let expires_at = now + TOKEN_SECONDS;
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Token { text: make_token(&key, &self.audience, expires_at, None), expires_at })
    }
}
