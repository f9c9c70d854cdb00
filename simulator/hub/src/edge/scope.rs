//! The identities that may connect here: those of this device and of the leaf devices in its scope, as the cloud hub has
//! them, kept for when the cloud cannot be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use edgectl_schemas::ids::Identity;
use edgectl_schemas::sas::InvalidToken;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::auth::{AuthError, IdentityRecord, TokenCheck};
use crate::documents::{Batch, Documents, DocumentsError, Table};
use crate::gateway::{Client, Credential, Refusal};

const TABLE: Table = Table::new("scope");
/// The cloud hub is asked at most this often because of one client that it may not know.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Tells which identities are in this device's scope.
#[async_trait]
pub trait ScopeSource: Send + Sync + 'static {
    /// All of them.
    async fn identities(&self) -> Result<Vec<IdentityRecord>, Refusal>;
}

/// The identities, and who asks for them.
pub struct Scope {
    source: Arc<dyn ScopeSource>,
    documents: Arc<Documents>,
    known: RwLock<HashMap<Identity, IdentityRecord>>,
    /// For whom the cloud hub was asked lately, and when.
    refreshed: Mutex<HashMap<Identity, Instant>>,
    /// What clients last proved with who they are.
    proofs: Mutex<HashMap<Identity, Credential>>,
    renewed: Notify,
}

impl Scope {
    /// Starts with the identities that were kept.
    pub fn open(source: Arc<dyn ScopeSource>, documents: Arc<Documents>) -> Result<Self, DocumentsError> {
        let kept: Vec<(String, IdentityRecord)> = documents.all(TABLE)?;
        let known = kept.into_iter().map(|(_, record)| (record.identity.clone(), record)).collect();
        Ok(Self {
            source,
            documents,
            known: RwLock::new(known),
            refreshed: Mutex::default(),
            proofs: Mutex::default(),
            renewed: Notify::new(),
        })
    }

    /// Checks a client's proof. What looks wrong is checked once more against what the cloud hub has now.
    pub async fn authenticate(
        &self,
        identity: &Identity,
        credential: &Credential,
        hosts: &[&str],
        now: u64,
    ) -> Result<Client, Refusal> {
        let check = TokenCheck { hosts, now };
        let checked = match self.check(identity, credential, check) {
            Err(
                AuthError::Unknown(_)
                | AuthError::Signature(_)
                | AuthError::Disabled(_)
                | AuthError::Thumbprint(_)
                | AuthError::WrongType(_)
                | AuthError::NoCertificate(_),
            ) if self.may_refresh(identity) => {
                if let Err(refusal) = self.refresh().await {
                    tracing::debug!(%refusal, "the identities cannot be refreshed");
                }
                self.check(identity, credential, check)
            }
            checked => checked,
        };
        match checked {
            Ok(expires_at) => {
                self.proofs().insert(identity.clone(), credential.clone());
                Ok(Client { identity: identity.clone(), expires_at: Some(expires_at) })
            }
            Err(error) => Err(Refusal::Unauthorized(error.to_string())),
        }
    }

    /// Reads all identities from the cloud hub.
    pub async fn refresh(&self) -> Result<(), Refusal> {
        let records = self.source.identities().await?;
        let mut batch = Batch::default();
        let fresh: HashMap<_, _> = records.into_iter().map(|record| (record.identity.clone(), record)).collect();
        for gone in self.read().keys().filter(|identity| !fresh.contains_key(*identity)) {
            batch.remove(TABLE, &gone.to_string());
        }
        for (identity, record) in &fresh {
            batch.put(TABLE, &identity.to_string(), record);
        }
        self.documents.write(batch).map_err(|error| Refusal::Unavailable(error.to_string()))?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.renewed.notify_one();
        Ok(())
    }

    /// Waits until the identities have been read from the cloud hub once more.
    pub async fn renewed(&self) {
        self.renewed.notified().await;
    }

    /// Checks the proofs of all clients once more, against the identities as they are known now. Those whose proof does
    /// not hold any more are returned, and have to prove anew who they are. That a proof's time is over is for who keeps
    /// the connection to know.
    pub fn disproved(&self, hosts: &[&str], now: u64) -> Vec<Identity> {
        let check = TokenCheck { hosts, now };
        let mut proofs = self.proofs();
        let gone = proofs.extract_if(|identity, credential| match self.check(identity, credential, check) {
            Ok(_) | Err(AuthError::Token(InvalidToken::Expired) | AuthError::CertificateTime) => false,
            Err(_) => true,
        });
        gone.map(|(identity, _)| identity).collect()
    }

    fn check(&self, identity: &Identity, credential: &Credential, check: TokenCheck<'_>) -> Result<u64, AuthError> {
        let known = self.read();
        let record = known.get(identity).ok_or_else(|| AuthError::Unknown(identity.clone()))?;
        let device = known.get(&Identity::device(identity.device.clone()));
        match credential {
            Credential::Token(token) => check.check(token, record, device),
            // The runtime gives modules tokens and knows no certificates of theirs.
            Credential::Certificate(_) if identity.module.is_some() => Err(AuthError::NoCertificate(identity.clone())),
            Credential::Certificate(certificate) => certificate.check(record, device, check.now),
            // This hub has no other hub below it.
            Credential::OnBehalfOf { chain, .. } => Err(AuthError::Chain(chain.clone())),
        }
    }

    fn may_refresh(&self, identity: &Identity) -> bool {
        let mut refreshed = self.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.retain(|_, last| last.elapsed() < REFRESH_INTERVAL);
        let may = !refreshed.contains_key(identity);
        if may {
            refreshed.insert(identity.clone(), Instant::now());
        }
        may
    }

    fn proofs(&self) -> MutexGuard<'_, HashMap<Identity, Credential>> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Identity, IdentityRecord>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
